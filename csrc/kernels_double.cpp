#include "kernels.h"

namespace nw {
namespace NW_ISA {

Kernels double_kernels() { return kernels_of<double>(); }

}  // namespace NW_ISA
}  // namespace nw
