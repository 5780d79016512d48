#include "kernels.h"

namespace nw {
namespace NW_ISA {

Kernels float_kernels() { return kernels_of<float>(); }

}  // namespace NW_ISA
}  // namespace nw
