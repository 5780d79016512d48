#include "kernels.h"

namespace nw {
namespace NW_ISA {

Kernels half_kernels() { return kernels_of<f16>(); }

}  // namespace NW_ISA
}  // namespace nw
