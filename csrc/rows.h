// Statistics of each row of a matrix, with one weight and bias per column: Layer and RMS normalization of what lies together.
//
// A part is a fixed number of rows, so that the gradients of weight and bias do not depend on the threads.
#pragma once

#include "abi.h"
#include "finish.h"
#include "moments.h"
#include "parallel.h"

namespace nw {
namespace NW_ISA {

struct Rows {
    int64_t rows, length, parts, part_rows, elements, words;
    const uint8_t* keep;

    static constexpr int64_t PART = 16384;  // elements
    static constexpr int64_t MOST_PARTS = 64;

    explicit Rows(const nw_norm* call)
        : rows(call->samples * call->positions), length(call->channels), keep(call->keep) {
        elements = rows * length;
        const int64_t wanted = elements / PART;
        parts = wanted < 1 ? 1 : wanted > MOST_PARTS ? MOST_PARTS : wanted;
        part_rows = (rows + parts - 1) / parts;
        if (part_rows < 1) part_rows = 1;
        parts = rows > 0 ? (rows + part_rows - 1) / part_rows : 1;
        words = gate_words(length);
    }
    int64_t part_end(int64_t part) const { return (part + 1) * part_rows < rows ? (part + 1) * part_rows : rows; }
};

// The mean square of a row, in double where float lanes are not finite.
template <class T> static inline Moments square_of_row(const T* x, int64_t n) {
    typedef compute<T> A;
    TwoSums<A> sums;
    each_slot(sums, n, [&](int64_t i, int slot, auto lanes) { sums.add_square(slot, load(x + i, lanes)); });
    sums.flush();
    double squares = sums.second();
    if (!(squares <= 1e300)) {
        squares = 0;
        for (int64_t i = 0; i < n; i++) squares += static_cast<double>(widen(x[i])) * static_cast<double>(widen(x[i]));
    }
    return {static_cast<double>(n), 0, squares};
}

template <class T, Kind kind> static int32_t rows_forward(const nw_norm* call) {
    typedef compute<T> A;
    const Rows p(call);
    const T* NW_RESTRICT x = static_cast<const T*>(call->x);
    const Finish<T, kind> finish(call);
    const Saved<A> saved(call->saved, p.rows, p.length);
    saved.set_affine(call, p.length);
    const bool centred = call->centred;
    parallel(p.parts, p.elements, [&](int64_t part) {
        for (int64_t row = part * p.part_rows; row < p.part_end(part); row++) {
            const int64_t at = row * p.length;
            const Moments m = centred ? moments_of_rows<T>(0, 1, 1, p.length, [&](int64_t) { return x + at; },
                                                           [](int64_t) -> const float* { return nullptr; })
                                      : square_of_row(x + at, p.length);
            double mean, variance;
            settle(m, centred, &mean, &variance);
            saved.set(row, mean, variance, call->eps);
            const Pack<A> high = Pack<A>::of(saved.high[row]), low = Pack<A>::of(saved.low[row]), rstd = Pack<A>::of(saved.rstd[row]);
            each_pack(p.length, [&](int64_t i, auto lanes) {
                const Pack<A> d = (load(x + at + i, lanes) - high) - low;
                const Pack<A> z = fma(d * rstd, load(saved.weight + i, lanes), load(saved.bias + i, lanes));
                finish.forward(z, at + i, at + i, row * p.words + i / LANES, p.keep, lanes);
            });
        }
    });
    return 0;
}

template <class T, Kind kind> static int32_t rows_backward(const nw_norm* call) {
    typedef compute<T> A;
    constexpr int64_t AT_ONCE = 4;
    const Rows p(call);
    const T* NW_RESTRICT x = static_cast<const T*>(call->x);
    T* dx = static_cast<T*>(call->dx);
    const Finish<T, kind> finish(call);
    const Saved<A> saved(call->saved, p.rows, p.length);
    const bool centred = call->centred, affine = call->dweight || call->dbias;

    Scratch scratch(affine ? 2 * Scratch::room<double>(p.parts * p.length) : 0);
    if (!scratch.ok()) return 1;
    double *dweight = nullptr, *dbias = nullptr;
    if (affine) {
        dweight = scratch.take<double>(p.parts * p.length);
        dbias = scratch.take<double>(p.parts * p.length);
    }
    const double share = p.length > 0 ? 1.0 / static_cast<double>(p.length) : 0;
    parallel(p.parts, p.elements, [&](int64_t part) {
        double *own_weight = dweight + part * p.length, *own_bias = dbias + part * p.length;
        if (affine) {
            memset(own_weight, 0, static_cast<size_t>(p.length) * sizeof(double));
            memset(own_bias, 0, static_cast<size_t>(p.length) * sizeof(double));
        }
        const auto gradient_of = [&](int64_t row, int64_t i, Pack<A> high, Pack<A> low, Pack<A> rstd, auto lanes, Pack<A>* hat) {
            const int64_t at = row * p.length + i;
            *hat = ((load(x + at, lanes) - high) - low) * rstd;
            Pack<A> z = *hat;
            if constexpr (kind != PLAIN) z = fma(z, load(saved.weight + i, lanes), load(saved.bias + i, lanes));
            return finish.backward(z, at, at, row * p.words + i / LANES, p.keep, lanes);
        };
        for (int64_t row = part * p.part_rows; row < p.part_end(part); row += AT_ONCE) {
            const int64_t count = p.part_end(part) - row < AT_ONCE ? p.part_end(part) - row : AT_ONCE;
            Pack<A> high[AT_ONCE], low[AT_ONCE], rstd[AT_ONCE], constant[AT_ONCE], slope[AT_ONCE];
            for (int64_t r = 0; r < count; r++) {
                high[r] = Pack<A>::of(saved.high[row + r]);
                low[r] = Pack<A>::of(saved.low[row + r]);
                rstd[r] = Pack<A>::of(saved.rstd[row + r]);
                if (!dx) continue;
                TwoSums<A> sums;
                each_slot(sums, p.length, [&](int64_t i, int slot, auto lanes) {
                    Pack<A> hat;
                    const Pack<A> dz = gradient_of(row + r, i, high[r], low[r], rstd[r], lanes, &hat);
                    sums.add_product(slot, dz * load(saved.weight + i, lanes), only(hat, lanes));
                });
                sums.flush();
                constant[r] = Pack<A>::of(static_cast<A>(centred ? sums.first() * share : 0));
                slope[r] = Pack<A>::of(static_cast<A>(sums.second() * share));
            }
            each_pack(p.length, [&](int64_t i, auto lanes) {
                const Pack<A> weight = load(saved.weight + i, lanes);
                Pack<A> by_weight = Pack<A>::zero(), by_bias = by_weight;
                for (int64_t r = 0; r < count; r++) {
                    Pack<A> hat;
                    const Pack<A> dz = gradient_of(row + r, i, high[r], low[r], rstd[r], lanes, &hat);
                    const int64_t at = (row + r) * p.length + i;
                    if (finish.dresidual) store(finish.dresidual + at, dz, lanes);
                    by_weight = fma(dz, only(hat, lanes), by_weight);
                    by_bias = by_bias + dz;
                    if (!dx) continue;
                    store(dx + at, rstd[r] * (fma(dz, weight, Pack<A>::zero() - constant[r]) - hat * slope[r]), lanes);
                }
                if (!affine) return;
                store(own_weight + i, load(own_weight + i, lanes) + to_double(by_weight), lanes);
                store(own_bias + i, load(own_bias + i, lanes) + to_double(by_bias), lanes);
            });
        }
    });
    if (!affine) return 0;
    for (int64_t part = 1; part < p.parts; part++) {
        for (int64_t i = 0; i < p.length; i++) {
            dweight[i] += dweight[part * p.length + i];
            dbias[i] += dbias[part * p.length + i];
        }
    }
    for (int64_t i = 0; i < p.length; i++) {
        set_parameter(call->dweight, call->parameter_dtype, i, dweight[i]);
        set_parameter(call->dbias, call->parameter_dtype, i, dbias[i]);
    }
    return 0;
}

}  // namespace NW_ISA
}  // namespace nw
