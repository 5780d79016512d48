// The table of one instruction set.
#include "blocks.h"
#include "kernels.h"
#include "pages.h"
#include "tracking.h"

#define NW_TEXT_(x) #x
#define NW_TEXT(x) NW_TEXT_(x)
#define NW_JOIN_(a, b) a##b
#define NW_JOIN(a, b) NW_JOIN_(a, b)

namespace nw {
namespace NW_ISA {

static Kernels of(int32_t dtype) {
    switch (dtype) {
        case NW_F32: return float_kernels();
        case NW_F64: return double_kernels();
        case NW_BF16: return bfloat16_kernels();
        default: return half_kernels();
    }
}

static int64_t bytes_of(int32_t dtype, int64_t elements) { return elements * (dtype == NW_F64 ? 8 : dtype == NW_F32 ? 4 : 2); }
static int64_t bytes_of(const nw_norm* call) {
    return bytes_of(call->dtype, call->models * call->samples * call->channels * call->positions);
}

static int32_t norm_forward(const nw_norm* call) {
    ask_for_large_pages(call->y, bytes_of(call));
    const auto kernel = of(call->dtype).norm_forward;
    return is_tracked(call) ? forward_and_track(kernel, call) : kernel(call);
}
static int32_t norm_backward(const nw_norm* call) {
    if (call->dx != call->dy) ask_for_large_pages(call->dx, bytes_of(call));
    if (call->dresidual != call->dy) ask_for_large_pages(call->dresidual, bytes_of(call));
    return of(call->dtype).norm_backward(call);
}
static int32_t moments(const nw_moments* call) { return of(call->dtype).moments(call); }
static int32_t dropout(const nw_dropout* call) {
    if (call->y != call->x) ask_for_large_pages(call->y, bytes_of(call->dtype, call->models * call->elements));
    return of(call->dtype).dropout(call);
}
static int32_t penalty(const nw_penalty* call) {
    ask_for_large_pages(call->y, bytes_of(call->dtype, call->elements));
    return of(call->dtype).penalty(call);
}
static int32_t proximal(const nw_penalty* call) { return of(call->dtype).proximal(call); }

}  // namespace NW_ISA
}  // namespace nw

extern "C" const nw_table* NW_JOIN(nw_table_, NW_ISA)() {
    using namespace nw::NW_ISA;
    static const nw_table table = {NW_ABI_VERSION, VECTOR_BYTES ? VECTOR_BYTES / 4 : 1, NW_TEXT(NW_ISA), norm_forward, norm_backward,
                                   moments, keep_bits, dropout, penalty, proximal, nw_take_block, nw_give_block};
    return &table;
}
