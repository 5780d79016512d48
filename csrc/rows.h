// Statistics of what lies together: Layer and RMS normalization of rows, and groups of channels where channels come first and
// positions are few.
//
// A sample consists of `groups` rows, each with weights and biases of its own: one a value, each repeated where a channel has several
// positions. A part is a fixed number of samples, so that the gradients of weight and bias do not depend on the threads.
#pragma once

#include "finish.h"
#include "matrix.h"

namespace nw {
namespace NW_ISA {

struct Rows {
    int64_t samples, groups, length, inner, channels;
    int64_t parts, part_samples, elements, words;
    const uint8_t* keep;

    static constexpr int64_t PART = 16384;  // elements
    static constexpr int64_t MOST_PARTS = 256, LEAST_PARTS = 64;
    static constexpr int64_t MOST_SUMS = 1 << 17;  // of all parts, unless they are fewer than LEAST_PARTS
    static constexpr int64_t AT_ONCE = 4096;        // elements of rows that go through both passes together

    explicit Rows(const nw_norm* call) : channels(call->channels), keep(call->keep) {
        const bool layer = call->family == NW_LAYER;
        samples = layer ? call->samples * call->positions : call->samples;
        groups = layer ? 1 : call->groups;
        inner = layer ? 1 : call->positions;
        length = groups > 0 ? channels / groups * inner : 0;
        const int64_t sample = groups * length;
        elements = samples * sample;
        const int64_t room = sample > 0 ? MOST_SUMS / sample : 1;
        const int64_t most = room < LEAST_PARTS ? LEAST_PARTS : room < MOST_PARTS ? room : MOST_PARTS;
        const int64_t wanted = elements / PART;
        parts = wanted < 1 ? 1 : wanted > most ? most : wanted;
        part_samples = (samples + parts - 1) / parts;
        if (part_samples < 1) part_samples = 1;
        parts = samples > 0 ? (samples + part_samples - 1) / part_samples : 1;
        words = gate_words(length);
    }
    int64_t part_end(int64_t part) const { return (part + 1) * part_samples < samples ? (part + 1) * part_samples : samples; }
};

// Weight and bias of each element of a sample.
template <class A> struct RowAffine {
    const A *weight, *bias;
    static size_t room(const Rows& p) { return p.inner > 1 ? 2 * Scratch::room<A>(p.channels * p.inner) : 0; }
    RowAffine(const Rows& p, const Saved<A>& saved, Scratch& scratch) : weight(saved.weight), bias(saved.bias) {
        if (p.inner <= 1) return;
        A *weights = scratch.take<A>(p.channels * p.inner), *biases = scratch.take<A>(p.channels * p.inner);
        for (int64_t i = 0; i < p.channels * p.inner; i++) {
            weights[i] = saved.weight[i / p.inner];
            biases[i] = saved.bias[i / p.inner];
        }
        weight = weights;
        bias = biases;
    }
};

template <class T, Kind kind>
NW_INLINE void finish_in_row(const Rows& p, const T* NW_RESTRICT x, const Finish<T, kind> finish, const Saved<compute<T>> saved, int64_t row,
                             const compute<T>* weight, const compute<T>* bias, int64_t ahead) {
    typedef compute<T> A;
    const Pack<A> high = Pack<A>::of(saved.high[row]), low = Pack<A>::of(saved.low[row]), rstd = Pack<A>::of(saved.rstd[row]);
    const int64_t at = row * p.length, word = row * p.words;
    const uint8_t* keep = p.keep;
    each_pack(p.length, [&](int64_t i, auto lanes) NW_INLINED {
        prefetch(x + at + i + ahead);
        finish.y.fetch(at + i + ahead);
        const Pack<A> d = (load(x + at + i, lanes) - high) - low;
        const Pack<A> z = fma(d * rstd, load(weight + i, lanes), load(bias + i, lanes));
        finish.forward(z, at + i, at + i, word + i / LANES, keep, lanes);
    });
}

template <class T, Kind kind> static int32_t rows_forward(const nw_norm* call) {
    typedef compute<T> A;
    const Rows p(call);
    const T* NW_RESTRICT x = static_cast<const T*>(call->x);
    const Finish<T, kind> finish(call, p.length);
    const Saved<A> saved(call->saved, p.samples * p.groups, p.channels);
    saved.set_affine(call, p.channels);
    const Conclusion<A> conclude(call, saved);
    Scratch scratch(RowAffine<A>::room(p));
    if (!scratch.ok()) return 1;
    const RowAffine<A> affine(p, saved, scratch);
    const bool centred = call->centred;
    // A row's statistics wait for long operations; those of several rows wait together.
    const int64_t fit = p.length > 0 ? Rows::AT_ONCE / p.length : LANES, at_once = fit < 1 ? 1 : fit > LANES ? LANES : fit;
    // The machine looks ahead no further than to the end of a page, which a row may well be. The next rows are read while these
    // are written: memory does both at once.
    const int64_t ahead = p.length * at_once;
    parallel(p.parts, p.elements, [&](int64_t part) {
        const int64_t to = p.part_end(part) * p.groups;
        for (int64_t row = part * p.part_samples * p.groups; row < to; row += at_once) {
            const int64_t count = to - row < at_once ? to - row : at_once;
            A about[LANES];
            double first[LANES], second[LANES];
            for (int64_t r = 0; r < count; r++) about[r] = centred ? shift_of(x + (row + r) * p.length, p.length) : 0;
            for (int64_t r = 0; r < count; r++) {
                const T* from = x + (row + r) * p.length;
                const Pack<A> shift = Pack<A>::of(about[r]);
                TwoSums<A> sums;
                each_slot(sums, p.length, [&](int64_t i, int slot, auto lanes) NW_INLINED {
                    sums.add_square(slot, only(load(from + i, lanes) - shift, lanes));
                });
                sums.flush();
                first[r] = sums.first();
                second[r] = sums.second();
            }
            const double n = static_cast<double>(p.length);
            const auto redo = [&](int64_t r) {
                const T* from = x + (row + r) * p.length;
                return moments_in_double(p.length, centred, [&](int64_t i) { return static_cast<double>(widen(from[i])); }, [](int64_t) { return 1.0; });
            };
            if (count == 1) {  // nothing to wait with
                const double sum = centred ? first[0] : 0, mean = sum / n;
                const bool fine = trusted(n, sum, second[0]);
                const Moments m = fine ? Moments{n, static_cast<double>(about[0]) + mean, second[0] - sum * mean} : redo(0);
                conclude(row, n, m.mean, m.squares, One{});
            } else {
                moments_of_sums(count, n, centred, about, first, second, redo);
                each_pack(count, [&](int64_t r, auto lanes) NW_INLINED { conclude(row + r, n, load(first + r, lanes), load(second + r, lanes), lanes); });
            }
            int64_t group = row % p.groups;
            for (int64_t r = row; r < row + count; r++) {
                finish_in_row(p, x, finish, saved, r, affine.weight + group * p.length, affine.bias + group * p.length, ahead);
                if (++group == p.groups) group = 0;
            }
        }
    });
    return 0;
}

// What one row's backward pass is computed with.
template <class A> struct RowBack {
    Pack<A> high, low, rstd, constant, slope;
};

// The backward pass of `count` rows, `stride` apart, that share weights; it adds the gradients of these, null for not wanted.
template <class T, Kind kind, int count>
NW_INLINE void rows_back(const nw_norm* call, const Rows& p, const Finish<T, kind> finish, const Output<T> dx,
                         const Saved<compute<T>> saved, int64_t row, int64_t stride, const compute<T>* weight, const compute<T>* bias,
                         double* NW_RESTRICT dweight, double* NW_RESTRICT dbias) {
    typedef compute<T> A;
    const T* NW_RESTRICT x = static_cast<const T*>(call->x);
    const double share = 1.0 / static_cast<double>(p.length);
    RowBack<A> back[count];
    const auto gradient = [&](int64_t r, int64_t i, const RowBack<A>& b, auto lanes, Pack<A>* hat) NW_INLINED {
        const int64_t at = r * p.length + i;
        *hat = ((load(x + at, lanes) - b.high) - b.low) * b.rstd;
        Pack<A> z = *hat;
        if constexpr (kind != PLAIN) z = fma(z, load(weight + i, lanes), load(bias + i, lanes));
        return finish.backward(z, at, at, r * p.words + i / LANES, p.keep, lanes);
    };
    for (int k = 0; k < count; k++) {
        const int64_t r = row + k * stride;
        RowBack<A> b = {Pack<A>::of(saved.high[r]), Pack<A>::of(saved.low[r]), Pack<A>::of(saved.rstd[r]), Pack<A>::zero(), Pack<A>::zero()};
        if (dx) {
            TwoSums<A> sums;
            each_slot(sums, p.length, [&](int64_t i, int slot, auto lanes) NW_INLINED {
                dx.fetch(r * p.length + i);
                Pack<A> hat;
                const Pack<A> dz = gradient(r, i, b, lanes, &hat);
                sums.add_product(slot, dz * load(weight + i, lanes), only(hat, lanes));
            });
            sums.flush();
            b.constant = Pack<A>::of(static_cast<A>(call->centred ? sums.first() * share : 0));
            b.slope = Pack<A>::of(static_cast<A>(sums.second() * share));
        }
        back[k] = b;
    }
    each_pack(p.length, [&](int64_t i, auto lanes) NW_INLINED {
        const Pack<A> w = load(weight + i, lanes);
        Pack<A> by_weight = Pack<A>::zero(), by_bias = by_weight;
        NW_UNROLL
        for (int k = 0; k < count; k++) {
            Pack<A> hat;
            const int64_t at = (row + k * stride) * p.length + i;
            prefetch(x + at + count * stride * p.length);
            prefetch(finish.dy + at + count * stride * p.length);
            const Pack<A> dz = gradient(row + k * stride, i, back[k], lanes, &hat);
            if (finish.dresidual) finish.dresidual.set(at, dz, lanes);
            by_weight = fma(dz, hat, by_weight);
            by_bias = by_bias + dz;
            if (!dx) continue;
            dx.set(at, back[k].rstd * (fma(dz, w, Pack<A>::zero() - back[k].constant) - hat * back[k].slope), lanes);
        }
        if (!dweight) return;
        store(dweight + i, load(dweight + i, lanes) + to_double(by_weight), lanes);
        store(dbias + i, load(dbias + i, lanes) + to_double(by_bias), lanes);
    });
}

template <class T, Kind kind> static int32_t rows_backward(const nw_norm* call) {
    typedef compute<T> A;
    const Rows p(call);
    const Finish<T, kind> finish(call, p.length);
    // Rows are gone through in order, so that it pays a little sooner than elsewhere.
    const Output<T> dx = output_of<T>(call->dx, call, p.length, nw_past_caches_from / 4 * 3);
    const Saved<A> saved(call->saved, p.samples * p.groups, p.channels);
    const bool wanted = call->dweight || call->dbias;
    const int64_t sample = p.groups * p.length, sums = wanted ? p.parts * sample : 0;

    Scratch scratch(2 * Scratch::room<double>(sums) + RowAffine<A>::room(p));
    if (!scratch.ok()) return 1;
    double *dweight = scratch.take<double>(sums), *dbias = scratch.take<double>(sums);
    const RowAffine<A> affine(p, saved, scratch);
    parallel(p.parts, p.elements, [&](int64_t part) {
        double *own_weight = dweight + part * sample, *own_bias = dbias + part * sample;
        if (wanted) {
            memset(own_weight, 0, static_cast<size_t>(sample) * sizeof(double));
            memset(own_bias, 0, static_cast<size_t>(sample) * sizeof(double));
        }
        const auto back = [&](int64_t n, auto samples) NW_INLINED {
            for (int64_t g = 0; g < p.groups; g++) {
                const int64_t at = g * p.length;
                rows_back<T, kind, samples.value>(call, p, finish, dx, saved, n * p.groups + g, p.groups, affine.weight + at, affine.bias + at,
                                                  wanted ? own_weight + at : nullptr, wanted ? own_bias + at : nullptr);
            }
        };
        // Rows whole pages apart compete for the same places of the cache.
        if (sample * static_cast<int64_t>(sizeof(T)) % 4096 == 0) each_rows<2>(part * p.part_samples, p.part_end(part), back);
        else each_rows(part * p.part_samples, p.part_end(part), back);
    });
    if (!wanted) return 0;
    each_columns(p.channels, p.parts * p.inner, [&](int64_t from, int64_t to) {
        add_rows(p.parts, sample, from * p.inner, to * p.inner, dweight);
        add_rows(p.parts, sample, from * p.inner, to * p.inner, dbias);
        if (p.inner > 1) {
            for (int64_t c = from; c < to; c++) {
                double weight = 0, bias = 0;
                for (int64_t s = 0; s < p.inner; s++) {
                    weight += dweight[c * p.inner + s];
                    bias += dbias[c * p.inner + s];
                }
                set_parameter(call->dweight, call->parameter_dtype, c, weight, One{});
                set_parameter(call->dbias, call->parameter_dtype, c, bias, One{});
            }
            return;
        }
        each_pack(to - from, [&](int64_t i, auto lanes) NW_INLINED {
            set_parameter(call->dweight, call->parameter_dtype, from + i, load(dweight + from + i, lanes), lanes);
            set_parameter(call->dbias, call->parameter_dtype, from + i, load(dbias + from + i, lanes), lanes);
        });
    });
    return 0;
}

}  // namespace NW_ISA
}  // namespace nw
