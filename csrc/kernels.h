// Which kernel a call runs, for one dtype. Each dtype is a file of its own, so that they compile side by side.
#pragma once

#include "columns.h"
#include "elementwise.h"
#include "measure.h"
#include "planes.h"
#include "rows.h"
#include "strided.h"

namespace nw {
namespace NW_ISA {

template <class T, Kind kind> static int32_t norm_forward_as(const nw_norm* call) {
    const bool first = call->layout == NW_FIRST;
    if (call->family == NW_LAYER) return first ? strided_forward<T, kind>(call) : rows_forward<T, kind>(call);
    return first ? planes_forward<T, kind>(call) : columns_forward<T, kind>(call);
}
template <class T, Kind kind> static int32_t norm_backward_as(const nw_norm* call) {
    const bool first = call->layout == NW_FIRST;
    if (call->family == NW_LAYER) return first ? strided_backward<T, kind>(call) : rows_backward<T, kind>(call);
    return first ? planes_backward<T, kind>(call) : columns_backward<T, kind>(call);
}
template <class T> static int32_t norm_forward_of(const nw_norm* call) {
    switch (call->activation) {
        case NW_NONE: return norm_forward_as<T, PLAIN>(call);
        case NW_RELU: return norm_forward_as<T, RELU>(call);
        default: return norm_forward_as<T, SMOOTH>(call);
    }
}
template <class T> static int32_t norm_backward_of(const nw_norm* call) {
    switch (call->activation) {
        case NW_NONE: return norm_backward_as<T, PLAIN>(call);
        case NW_RELU: return norm_backward_as<T, RELU>(call);
        default: return norm_backward_as<T, SMOOTH>(call);
    }
}

// The kernels of one dtype.
struct Kernels {
    int32_t (*norm_forward)(const nw_norm*);
    int32_t (*norm_backward)(const nw_norm*);
    int32_t (*moments)(const nw_moments*);
    int32_t (*dropout)(const nw_dropout*);
    int32_t (*penalty_sums)(const nw_penalty*);
    int32_t (*penalty_gradient)(const nw_penalty*);
    int32_t (*proximal)(const nw_penalty*);
};

template <class T> static Kernels kernels_of() {
    return {norm_forward_of<T>, norm_backward_of<T>, measure<T>, dropout<T>, penalty_sums<T>, penalty_gradient<T>, proximal<T>};
}

Kernels float_kernels();
Kernels double_kernels();
Kernels bfloat16_kernels();
Kernels half_kernels();

}  // namespace NW_ISA
}  // namespace nw
