// Statistics across samples, or of a group of channels, with channels first: rows of S values of one channel lie together.
//
// A unit is what shares a statistic: a channel of a model over all its samples, or a group of channels of one sample. It consists of
// rows; a part is a fixed number of them, so that sums do not depend on the threads. One thread takes a whole unit through both
// passes, so that the second finds the values in its cache; where there are few units, parts are dealt out instead.
#pragma once

#include "abi.h"
#include "finish.h"
#include "moments.h"
#include "parallel.h"

namespace nw {
namespace NW_ISA {

// Rows too short for this file belong to columns.h, where they share their statistics across samples, and to rows.h.
constexpr int64_t SHORT_ROW = 16;

// Whether the values of a channel lie in rows long enough to be taken one after another.
static inline bool lie_apart(const nw_norm* call) {
    if (call->layout != NW_FIRST) return false;
    if (call->positions >= SHORT_ROW) return true;
    return call->family == NW_ACROSS ? call->sample_weight && call->positions > 1 : !call->batch_statistics;
}

struct Planes {
    bool across;
    int64_t models, samples, channels, length;  // length: S
    int64_t units, rows;                        // rows of a unit
    int64_t parts, part_rows;
    int64_t elements;                           // in all
    int64_t groups, words, keep_stride;
    const uint8_t* keep;
    const float* sample_weight;

    static constexpr int64_t PART = 16384;               // elements
    static constexpr int64_t SECOND_CACHE = 1024 << 10;  // bytes

    explicit Planes(const nw_norm* call)
        : across(call->family == NW_ACROSS), models(call->models), samples(call->samples), channels(call->channels),
          length(call->positions), groups(call->groups), keep(call->keep), sample_weight(across ? call->sample_weight : nullptr) {
        units = across ? models * channels : samples * groups;
        rows = across ? samples : channels / (groups > 0 ? groups : 1);
        elements = models * samples * channels * length;
        part_rows = length > 0 && PART / length > 1 ? PART / length : 1;
        parts = (rows + part_rows - 1) / part_rows;
        words = gate_words(length);
        keep_stride = keep_bytes(samples * channels * length);
    }
    // The first row of a unit; the others follow at distances of row_step().
    int64_t first_row(int64_t unit) const { return across ? unit / channels * samples * channels + unit % channels : unit * rows; }
    NW_INLINE int64_t row_step() const { return across ? channels : 1; }
    // The place of a unit's first row in weight and bias; the others share it, or follow it.
    int64_t first_channel(int64_t unit) const { return across ? unit : unit % groups * rows; }
    NW_INLINE int64_t channel_step() const { return across ? 0 : 1; }
    NW_INLINE const uint8_t* keep_of(int64_t unit) const { return keep && across ? keep + unit / channels * keep_stride : keep; }
    NW_INLINE int64_t start_of_model(int64_t unit) const { return across ? unit / channels * samples * channels * length : 0; }
    int64_t part_end(int64_t part) const { return (part + 1) * part_rows < rows ? (part + 1) * part_rows : rows; }
    // The distance to the next unit, which the second sweep fetches where it writes past the caches: memory does both at once. 0 where
    // two units, of so many tensors, are too much for a usual second cache.
    template <class T> int64_t next_unit(int64_t tensors, const Output<T>& to) const {
        const int64_t bytes = 2 * tensors * rows * length * static_cast<int64_t>(sizeof(T));
        return !to.past_caches() || bytes > SECOND_CACHE ? 0 : across ? length : rows * length;
    }
};

template <class T> static inline Moments moments_of_part(const Planes& p, const T* x, int64_t unit, int64_t part) {
    const T* begin = x + p.first_row(unit) * p.length;
    const int64_t step = p.row_step() * p.length;
    return moments_of_rows<T>(
        part * p.part_rows, p.part_end(part), p.rows, p.length, [&](int64_t k) NW_INLINED { return begin + k * step; },
        [&](int64_t k) NW_INLINED { return p.sample_weight ? p.sample_weight + k * p.length : nullptr; });
}

// Row `row` of a unit. Meanwhile is fetched what is read, and what is written, so many elements further; none for 0.
template <class T, Kind kind>
NW_INLINE void finish_row(const Planes& p, const T* NW_RESTRICT x, const Finish<T, kind> finish, const Saved<compute<T>> saved, int64_t unit,
                          int64_t row, int64_t channel, int64_t read, int64_t written) {
    typedef compute<T> A;
    const Pack<A> high = Pack<A>::of(saved.high[unit]), low = Pack<A>::of(saved.low[unit]);
    const Pack<A> scale = Pack<A>::of(saved.rstd[unit] * saved.weight[channel]), shift = Pack<A>::of(saved.bias[channel]);
    const uint8_t* keep = p.keep_of(unit);
    const int64_t at = row * p.length, inside = at - p.start_of_model(unit);
    each_pack(p.length, [&](int64_t i, auto lanes) NW_INLINED {
        if (read) prefetch(x + at + read + i);
        if (written) finish.y.fetch(at + written + i);
        const Pack<A> d = (load(x + at + i, lanes) - high) - low;
        finish.forward(fma(d, scale, shift), at + i, inside + i, row * p.words + i / LANES, keep, lanes);
    });
}

template <class T, Kind kind>
static inline void finish_part(const Planes& p, const T* NW_RESTRICT x, const Finish<T, kind> finish, const Saved<compute<T>> saved,
                               int64_t unit, int64_t part) {
    const int64_t end = p.part_end(part), ahead = rows_ahead(p.length), next = p.next_unit<T>(1, finish.y);
    const int64_t first_row = p.first_row(unit), first_channel = p.first_channel(unit), step = p.row_step();
    for (int64_t k = part * p.part_rows; k < end; k++) {
        finish_row(p, x, finish, saved, unit, first_row + k * step, first_channel + k * p.channel_step(), next,
                   k + ahead < p.rows ? ahead * step * p.length : 0);
    }
}

template <class T, Kind kind> static int32_t planes_forward(const nw_norm* call) {
    typedef compute<T> A;
    const Planes p(call);
    const T* x = static_cast<const T*>(call->x);
    const Finish<T, kind> finish(call, p.length);
    const Saved<A> saved(call->saved, p.units, p.models * p.channels);
    saved.set_affine(call, p.models * p.channels);
    const auto finish_one = [&](int64_t i) { finish_part(p, x, finish, saved, i / p.parts, i % p.parts); };
    if (!call->batch_statistics) {
        if (p.across) saved.set_running(call, 1, p.units);
        else saved.set_running(call, p.samples, p.groups);
        // A unit's rows need not follow each other: in the order of memory they are read and written soonest.
        parallel(p.units * p.rows, p.elements, [&](int64_t row) {
            const int64_t all = p.samples * p.channels, unit = p.across ? row / all * p.channels + row % p.channels : row / p.rows;
            finish_row(p, x, finish, saved, unit, row, p.across ? unit : row % p.channels, AHEAD, AHEAD);
        });
        return 0;
    }
    const Conclusion<A> conclude(call, saved);
    Scratch scratch(Scratch::room<Moments>(p.units * p.parts));
    if (!scratch.ok()) return 1;
    Moments* moments = scratch.take<Moments>(p.units * p.parts);
    two_sweeps(
        p.units, p.parts, p.elements, [&](int64_t i) { moments[i] = moments_of_part(p, x, i / p.parts, i % p.parts); },
        [&](int64_t unit) {
            const Moments m = merge(p.parts, [&](int64_t part) { return moments[unit * p.parts + part]; });
            conclude(unit, m.count, m.mean, m.squares, One{});
        },
        finish_one);
    return 0;
}

struct RowSums {
    double gradient, product;  // sums of dz and of dz · (x − mean)
};

// Sums of a part of a unit; of each of its rows where `each` is given.
template <class T, Kind kind>
static inline RowSums sums_of_part(const Planes& p, const T* NW_RESTRICT x, const Finish<T, kind> finish,
                                   const Saved<compute<T>> saved, int64_t unit, int64_t part, RowSums* each) {
    typedef compute<T> A;
    const Pack<A> high = Pack<A>::of(saved.high[unit]), low = Pack<A>::of(saved.low[unit]);
    const uint8_t* keep = p.keep_of(unit);
    const int64_t start = p.start_of_model(unit), ahead = rows_ahead(p.length);
    const int64_t first_row = p.first_row(unit), first_channel = p.first_channel(unit), step = p.row_step();
    TwoSums<A> whole;
    for (int64_t k = part * p.part_rows; k < p.part_end(part); k++) {
        const int64_t row = first_row + k * step, at = row * p.length, channel = first_channel + k * p.channel_step();
        const Pack<A> scale = Pack<A>::of(saved.rstd[unit] * saved.weight[channel]), shift = Pack<A>::of(saved.bias[channel]);
        const int64_t next = (k + ahead < p.rows ? row + ahead * step : row) * p.length;
        const auto add = [&](TwoSums<A>& sums) NW_INLINED {
            each_slot(sums, p.length, [&](int64_t i, int slot, auto lanes) NW_INLINED {
                prefetch(x + next + i);
                prefetch(finish.dy + next + i);
                const Pack<A> d = (load(x + at + i, lanes) - high) - low;
                const Pack<A> dz = finish.backward(fma(d, scale, shift), at + i, at + i - start, row * p.words + i / LANES, keep, lanes);
                sums.add_product(slot, dz, only(d, lanes));
            });
        };
        if (each) {
            TwoSums<A> own;
            add(own);
            own.flush();
            each[row] = {own.first(), own.second()};
        } else {
            add(whole);
        }
    }
    whole.flush();
    return {whole.first(), whole.second()};
}

// dx = scale · dz − weight · (from_gradient + d · from_product), and the residual's gradient dz. `still`: the statistics do not
// depend on x.
template <class T, Kind kind>
static inline void gradient_of_part(const Planes& p, const T* NW_RESTRICT x, const Output<T> dx, const Finish<T, kind> finish,
                                    const Saved<compute<T>> saved, int64_t unit, int64_t part, RowSums from, bool still) {
    typedef compute<T> A;
    const Pack<A> high = Pack<A>::of(saved.high[unit]), low = Pack<A>::of(saved.low[unit]);
    const Pack<A> constant = Pack<A>::of(static_cast<A>(from.gradient)), slope = Pack<A>::of(static_cast<A>(from.product));
    const uint8_t* keep = p.keep_of(unit);
    const int64_t start = p.start_of_model(unit), ahead = rows_ahead(p.length), next = p.next_unit<T>(2, dx);
    const int64_t first_row = p.first_row(unit), first_channel = p.first_channel(unit), step = p.row_step();
    for (int64_t k = p.part_end(part) - 1; k >= part * p.part_rows; k--) {
        const int64_t row = first_row + k * step, at = row * p.length, channel = first_channel + k * p.channel_step();
        const Pack<A> scale = Pack<A>::of(saved.rstd[unit] * saved.weight[channel]), shift = Pack<A>::of(saved.bias[channel]);
        const float* weights = p.sample_weight ? p.sample_weight + k * p.length : nullptr;
        const int64_t written = (k >= ahead ? row - ahead * step : row) * p.length;
        each_pack(p.length, [&](int64_t i, auto lanes) NW_INLINED {
            if (dx) dx.fetch(written + i);
            if (next) {
                prefetch(x + at + next + i);
                prefetch(finish.dy + at + next + i);
            }
            const Pack<A> d = (load(x + at + i, lanes) - high) - low;
            const Pack<A> dz = finish.backward(fma(d, scale, shift), at + i, at + i - start, row * p.words + i / LANES, keep, lanes);
            if (finish.dresidual) finish.dresidual.set(at + i, dz, lanes);
            if (!dx) return;
            if (still) {  // not by way of d: 0 times an infinity is none
                dx.set(at + i, scale * dz, lanes);
                return;
            }
            Pack<A> through = fma(d, slope, constant);
            if (weights) through = through * lanes_of<A>(load(weights + i, lanes));
            dx.set(at + i, fma(scale, dz, Pack<A>::zero() - through), lanes);
        });
    }
}

template <class T, Kind kind> static int32_t planes_backward(const nw_norm* call) {
    typedef compute<T> A;
    const Planes p(call);
    const T* x = static_cast<const T*>(call->x);
    const Output<T> dx = output_of<T>(call->dx, call, p.length);
    const Finish<T, kind> finish(call, p.length);
    const Saved<A> saved(call->saved, p.units, p.models * p.channels);
    const bool through = call->batch_statistics;  // the statistics depend on x
    const bool write = dx || call->dresidual;
    const bool sum = (dx && through) || call->dweight || call->dbias;

    double weights_in_all = static_cast<double>(p.rows * p.length);
    if (p.sample_weight) {
        weights_in_all = 0;
        for (int64_t i = 0; i < p.samples * p.length; i++) weights_in_all += static_cast<double>(p.sample_weight[i]);
    }
    const int64_t all_rows = p.units * p.rows;
    const int64_t kept = p.across ? p.units * p.parts : all_rows;
    Scratch scratch(Scratch::room<RowSums>(kept) + Scratch::room<RowSums>(p.units));
    if (!scratch.ok()) return 1;
    RowSums* sums = scratch.take<RowSums>(kept);
    RowSums* from = scratch.take<RowSums>(p.units);

    const auto sum_part = [&](int64_t unit, int64_t part) {
        if (!sum) return;
        if (p.across) sums[unit * p.parts + part] = sums_of_part(p, x, finish, saved, unit, part, nullptr);
        else sums_of_part(p, x, finish, saved, unit, part, sums);
    };
    // What flows back through a unit's statistics; for channels across samples also the gradients of weight and bias.
    const auto conclude = [&](int64_t unit) -> RowSums {
        if (!sum) return {0, 0};
        double gradient = 0, product = 0;
        const double rstd = static_cast<double>(saved.rstd[unit]);
        if (p.across) {
            for (int64_t part = 0; part < p.parts; part++) {
                gradient += sums[unit * p.parts + part].gradient;
                product += sums[unit * p.parts + part].product;
            }
            set_parameter(call->dbias, call->parameter_dtype, unit, gradient, One{});
            set_parameter(call->dweight, call->parameter_dtype, unit, product * rstd, One{});
            const double weight = static_cast<double>(saved.weight[unit]);
            gradient *= weight;
            product *= weight;
        } else {
            for (int64_t k = 0; k < p.rows; k++) {
                const RowSums& row = sums[p.first_row(unit) + k];
                const double weight = static_cast<double>(saved.weight[p.first_channel(unit) + k]);
                gradient += weight * row.gradient;
                product += weight * row.product;
            }
        }
        if (!through || weights_in_all == 0) return {0, 0};
        const double centred = call->centred ? gradient * rstd / weights_in_all : 0;
        return {centred, product * rstd * rstd * rstd / weights_in_all};
    };
    two_sweeps(
        p.units, p.parts, p.elements, [&](int64_t i) { sum_part(i / p.parts, i % p.parts); },
        [&](int64_t unit) { from[unit] = conclude(unit); },
        [&](int64_t i) {
            if (write) gradient_of_part(p, x, dx, finish, saved, i / p.parts, i % p.parts, from[i / p.parts], !through);
        });
    if (p.across || !(call->dweight || call->dbias)) return 0;
    parallel(p.channels, all_rows, [&](int64_t c) {
        double gradient = 0, product = 0;
        for (int64_t n = 0; n < p.samples; n++) {
            const RowSums& row = sums[n * p.channels + c];
            gradient += row.gradient;
            product += row.product * static_cast<double>(saved.rstd[n * p.groups + c / p.rows]);
        }
        set_parameter(call->dbias, call->parameter_dtype, c, gradient, One{});
        set_parameter(call->dweight, call->parameter_dtype, c, product, One{});
    });
    return 0;
}

}  // namespace NW_ISA
}  // namespace nw
