// Which kernel a call runs, for one dtype. Each dtype is a file of its own, so that they compile side by side.
#pragma once

#include "columns_norm.h"
#include "elementwise.h"
#include "measure.h"
#include "planes.h"
#include "rows.h"
#include "strided.h"

namespace nw {
namespace NW_ISA {

// How the values that share a statistic lie: side by side at a distance, in rows, or down the columns of a matrix.
enum Order { IN_PLANES, IN_ROWS, IN_COLUMNS, STRIDED };
static inline Order order_of(const nw_norm* call) {
    if (call->family == NW_LAYER) return call->layout == NW_FIRST && call->positions > 1 ? STRIDED : IN_ROWS;
    if (lie_apart(call)) return IN_PLANES;
    const bool together = call->layout == NW_FIRST || (call->positions == 1 && call->batch_statistics);
    return call->family == NW_GROUP && together ? IN_ROWS : IN_COLUMNS;
}

template <class T, Kind kind> static int32_t norm_forward_as(const nw_norm* call) {
    switch (order_of(call)) {
        case IN_PLANES: return planes_forward<T, kind>(call);
        case IN_ROWS: return rows_forward<T, kind>(call);
        case IN_COLUMNS: return columns_forward<T, kind>(call);
        default: return strided_forward<T, kind>(call);
    }
}
template <class T, Kind kind> static int32_t norm_backward_as(const nw_norm* call) {
    switch (order_of(call)) {
        case IN_PLANES: return planes_backward<T, kind>(call);
        case IN_ROWS: return rows_backward<T, kind>(call);
        case IN_COLUMNS: return columns_backward<T, kind>(call);
        default: return strided_backward<T, kind>(call);
    }
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
    int32_t (*penalty)(const nw_penalty*);
    int32_t (*proximal)(const nw_penalty*);
};

template <class T> static Kernels kernels_of() {
    return {norm_forward_of<T>, norm_backward_of<T>, measure<T>, dropout<T>, penalty<T>, proximal<T>};
}

Kernels float_kernels();
Kernels double_kernels();
Kernels bfloat16_kernels();
Kernels half_kernels();

}  // namespace NW_ISA
}  // namespace nw
