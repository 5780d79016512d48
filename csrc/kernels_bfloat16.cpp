#include "kernels.h"

namespace nw {
namespace NW_ISA {

Kernels bfloat16_kernels() { return kernels_of<bf16>(); }

}  // namespace NW_ISA
}  // namespace nw
