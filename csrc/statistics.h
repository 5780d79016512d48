// Statistics on their way into and out of memory: what the backward pass needs, and the running ones.
//
// Everything here takes one statistic (lanes of type One) or as many as a pack has lanes: where a call is small, these few values
// per channel are its cost.
#pragma once

#include "moments.h"

namespace nw {
namespace NW_ISA {

// Parameters of any dtype.
template <class L> NW_INLINE doubles<L> parameter(const void* values, int32_t dtype, int64_t i, double absent, L lanes) {
    if (values == nullptr) return all(absent, lanes);
    switch (dtype) {
        case NW_F32: return load_double(static_cast<const float*>(values) + i, lanes);
        case NW_F64: return load_double(static_cast<const double*>(values) + i, lanes);
        case NW_BF16: return load_double(static_cast<const bf16*>(values) + i, lanes);
        default: return load_double(static_cast<const f16*>(values) + i, lanes);
    }
}
template <class L> NW_INLINE void set_parameter(void* values, int32_t dtype, int64_t i, doubles<L> value, L lanes) {
    if (values == nullptr) return;
    switch (dtype) {
        case NW_F32: store_double(static_cast<float*>(values) + i, value, lanes); break;
        case NW_F64: store_double(static_cast<double*>(values) + i, value, lanes); break;
        case NW_BF16: store_double(static_cast<bf16*>(values) + i, value, lanes); break;
        default: store_double(static_cast<f16*>(values) + i, value, lanes); break;
    }
}

// What the forward pass leaves for the backward one: per statistic the mean in two parts and 1/sqrt(var + eps), per channel weight
// and bias. They are copies: nobody's in-place step between the passes changes them.
template <class A> struct Saved {
    A *high, *low, *rstd, *weight, *bias;
    Saved(void* memory, int64_t statistics, int64_t channels) {
        high = static_cast<A*>(memory);
        low = high + statistics;
        rstd = low + statistics;
        weight = rstd + statistics;
        bias = weight + channels;
    }
    template <class L> NW_INLINE void set(int64_t i, doubles<L> mean, doubles<L> variance, double eps, L lanes) const {
        store_double(high + i, mean, lanes);
        store_double(low + i, mean - load_double(high + i, lanes), lanes);
        store_double(rstd + i, all(1, lanes) / square_root(variance + all(eps, lanes)), lanes);
    }
    void set_affine(const nw_norm* call, int64_t channels) const {
        each_pack(channels, [&](int64_t c, auto lanes) NW_INLINED {
            store_double(weight + c, parameter(call->weight, call->parameter_dtype, c, 1, lanes), lanes);
            store_double(bias + c, parameter(call->bias, call->parameter_dtype, c, 0, lanes), lanes);
        });
    }
    // Running statistics in the place of a batch's: n of them for each of `repeats`.
    void set_running(const nw_norm* call, int64_t repeats, int64_t n) const {
        for (int64_t r = 0; r < repeats; r++) {
            each_pack(n, [&](int64_t i, auto lanes) NW_INLINED {
                set(r * n + i, parameter(call->running_mean, call->running_dtype, i, 0, lanes),
                    parameter(call->running_var, call->running_dtype, i, 1, lanes), call->eps, lanes);
            });
        }
    }
};

// A batch's statistics: keep them for the backward pass and, where they are tracked, for the running ones.
template <class A> struct Conclusion {
    const nw_norm* call;
    Saved<A> saved;

    Conclusion(const nw_norm* from, const Saved<A>& to) : call(from), saved(to) {}
    // `squares`: of the deviations from the mean, of `count` values.
    template <class L> NW_INLINE void operator()(int64_t i, double count, doubles<L> mean, doubles<L> squares, L lanes) const {
        const doubles<L> share = all(count > 0 ? 1 / count : 0, lanes);
        // The biased variance, or the mean square where nothing is subtracted.
        const doubles<L> variance = at_least(squares * share, all(0, lanes));
        if (call->centred) saved.set(i, mean, variance, call->eps, lanes);
        else saved.set(i, all(0, lanes), variance + mean * mean, call->eps, lanes);
        if (call->tracked == nullptr) return;
        double* means = call->tracked;
        double* variances = means + call->models * call->channels;
        if (count > 0) {
            store_double(means + i, mean, lanes);
            store_double(variances + i, call->biased ? variance : squares * all(1 / (count > 1 ? count - 1 : 1), lanes), lanes);
        } else {  // nothing was seen: they stay
            store_double(means + i, parameter(call->running_mean, call->running_dtype, i, 0, lanes), lanes);
            store_double(variances + i, parameter(call->running_var, call->running_dtype, i, 1, lanes), lanes);
        }
    }
};

}  // namespace NW_ISA
}  // namespace nw
