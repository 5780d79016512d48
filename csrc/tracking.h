// Running statistics: a batch's go into them whole or, where one of them is not finite, not at all.
#pragma once

#include <cfloat>
#include <cstdlib>

#include "statistics.h"

namespace nw {
namespace NW_ISA {

// Statistics that fit on the stack.
constexpr int64_t FEW = 512;

static inline bool is_tracked(const nw_norm* call) {
    return call->family == NW_ACROSS && call->batch_statistics &&
           (call->running_mean || call->running_var || call->batches || call->skipped);
}

// Whether all n values are finite in a dtype.
static inline bool are_finite(const double* values, int64_t n, int32_t dtype) {
    const double largest = dtype == NW_F64 ? DBL_MAX : dtype == NW_F16 ? 65504.0 : FLT_MAX;
    bool finite = true;
    for (int64_t i = 0; i < n; i++) finite &= std::fabs(values[i]) <= largest;
    return finite;
}

static inline void move_towards(void* running, int32_t dtype, int64_t from, int64_t n, const double* batch, double momentum) {
    if (running == nullptr) return;
    each_pack(n, [&](int64_t i, auto lanes) NW_INLINED {
        const auto old = parameter(running, dtype, from + i, 0, lanes);
        set_parameter(running, dtype, from + i, old + all(momentum, lanes) * (load_double(batch + from + i, lanes) - old), lanes);
    });
}

// What the kernel left in `pass`, into the running statistics and the counter: of each model as if alone, one counter for all.
static inline void keep_statistics(const nw_norm& pass) {
    const int64_t models = pass.models, n = pass.channels;
    const int32_t dtype = pass.running_dtype;
    const double *means = pass.tracked, *variances = means + models * n;
    const auto is_finite = [&](int64_t k) { return are_finite(means + k * n, n, dtype) && are_finite(variances + k * n, n, dtype); };
    bool any = false;
    for (int64_t k = 0; k < models; k++) any |= is_finite(k);
    if (!any) {
        if (pass.skipped) *pass.skipped += 1;
        return;
    }
    if (pass.batches) *pass.batches += 1;
    const double momentum = pass.momentum >= 0 ? pass.momentum : pass.batches ? 1.0 / static_cast<double>(*pass.batches) : 0.0;
    for (int64_t k = 0; k < models; k++) {
        if (!is_finite(k)) continue;
        move_towards(pass.running_mean, dtype, k * n, n, means, momentum);
        move_towards(pass.running_var, dtype, k * n, n, variances, momentum);
    }
}

static inline int32_t forward_and_track(int32_t (*kernel)(const nw_norm*), const nw_norm* call) {
    const int64_t count = 2 * call->models * call->channels;
    double few[FEW];
    // The kernel has the one block that `Scratch` keeps.
    double* many = count > FEW ? static_cast<double*>(malloc(static_cast<size_t>(count) * sizeof(double))) : nullptr;
    if (count > FEW && many == nullptr) return 1;
    nw_norm pass = *call;
    pass.tracked = many ? many : few;
    const int32_t failed = kernel(&pass);
    if (!failed) keep_statistics(pass);
    free(many);
    return failed;
}

}  // namespace NW_ISA
}  // namespace nw
