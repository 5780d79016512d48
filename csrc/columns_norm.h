// The passes over columns: see columns.h.
#pragma once

#include "columns.h"

namespace nw {
namespace NW_ISA {

template <class T, Kind kind>
static inline void finish_columns(const Columns& p, const T* NW_RESTRICT x, const Finish<T, kind> finish, const ColumnMap<compute<T>> map,
                                  int64_t problem, int64_t part, int64_t ahead) {
    typedef compute<T> A;
    const int64_t begin = p.begin_of(problem), start = p.start_of_model(problem);
    const uint8_t* keep = p.keep_of(problem);
    p.each_wide_row(part, [&](int64_t row, int64_t columns) NW_INLINED {
        const int64_t first = begin + row * p.wide, word = problem * p.all_words + row * p.words;
        each_pack(columns, [&](int64_t c, auto lanes) NW_INLINED {
            const int64_t at = first + c;
            prefetch(x + at + ahead);
            if (finish.residual) prefetch(finish.residual + at + AHEAD);
            finish.y.fetch(at + AHEAD);
            const Pack<A> d = (load(x + at, lanes) - load(map.high + c, lanes)) - load(map.low + c, lanes);
            const Pack<A> z = fma(d, load(map.scale + c, lanes), load(map.shift + c, lanes));
            finish.forward(z, at, at - start, word + c / LANES, keep, lanes);
        });
    });
}

template <class T, Kind kind> static int32_t columns_forward(const nw_norm* call) {
    typedef compute<T> A;
    const Columns p(call);
    const T* NW_RESTRICT x = static_cast<const T*>(call->x);
    const Finish<T, kind> finish(call, p.run());
    const int64_t affine = call->models * p.channels, tasks = p.problems * p.parts;
    const Saved<A> saved(call->saved, p.statistics(), affine);
    saved.set_affine(call, affine);
    const bool measure = call->batch_statistics;
    const int64_t ahead = p.ahead(measure && finish.y.past_caches());

    size_t room = ColumnMap<A>::room(p);
    if (measure) room += 2 * Scratch::room<double>(tasks * p.wide) + Scratch::room<double>(tasks) + Scratch::room<A>(tasks * p.wide);
    Scratch scratch(room);
    if (!scratch.ok()) return 1;
    const ColumnMap<A> maps(scratch, p.problems * p.wide);
    const auto finish_one = [&](int64_t i) {
        finish_columns(p, x, finish, maps.of(p, i / p.parts), i / p.parts, i % p.parts, ahead);
    };
    if (!measure) {
        if (p.across) saved.set_running(call, 1, affine);
        else saved.set_running(call, p.problems, p.groups);
        for (int64_t problem = 0; problem < p.problems; problem++) maps.of(p, problem).fill(p, saved, problem);
        parallel(tasks, p.elements, finish_one);
        return 0;
    }
    const Conclusion<A> conclude(call, saved);
    double* means = scratch.take<double>(tasks * p.wide);
    double* squares = scratch.take<double>(tasks * p.wide);
    double* counts = scratch.take<double>(tasks);
    A* about = scratch.take<A>(tasks * p.wide);
    two_sweeps(
        p.problems, p.parts, p.elements,
        [&](int64_t i) {
            const int64_t at = i * p.wide;
            counts[i] = moments_of_columns(p, x + p.begin_of(i / p.parts), i % p.parts, means + at, squares + at, about + at);
        },
        [&](int64_t problem) {
            double *m = means + problem * p.parts * p.wide, *s = squares + problem * p.parts * p.wide;
            const double* n = counts + problem * p.parts;
            each_columns(p.channels, p.parts, [&](int64_t from, int64_t to) {
                const double count = merge_rows(p.parts, p.wide, from, to, n, m, s);
                if (p.width > 1) return;
                each_pack(to - from, [&](int64_t i, auto lanes) NW_INLINED {
                    const int64_t c = from + i;
                    conclude(problem * p.channels + c, count, load(m + c, lanes), load(s + c, lanes), lanes);
                });
            });
            for (int64_t g = 0; g < p.groups && p.width > 1; g++) {
                const double each = p.count(0, p.parts);
                double mean = 0, rest = 0, apart = 0;
                for (int64_t c = g * p.width; c < (g + 1) * p.width; c++) mean += m[c];
                mean /= static_cast<double>(p.width);
                for (int64_t c = g * p.width; c < (g + 1) * p.width; c++) {
                    rest += s[c];
                    apart += (m[c] - mean) * (m[c] - mean);
                }
                conclude(problem * p.groups + g, each * static_cast<double>(p.width), mean, rest + each * apart, One{});
            }
            maps.of(p, problem).fill(p, saved, problem);
        },
        finish_one);
    return 0;
}

// The gradients of a problem's channels, and what flows back through their statistics. `gradient` and `product`: the sums of dz and of
// dz · (x − mean) of each part, in whose first the whole ends, as the gradients of bias and weight.
template <class A>
static inline void conclude_columns(const nw_norm* call, const Columns& p, const Saved<A>& saved, const ColumnMap<A>& map, int64_t problem,
                                    double weights, double* gradient, double* product) {
    const int64_t affine = p.affine(problem);
    const double share = call->batch_statistics && weights > 0 ? 1 / weights : 0, centred = call->centred ? 1 : 0;
    each_columns(p.channels, p.parts, [&](int64_t from, int64_t to) {
        add_rows(p.parts, p.wide, from, to, gradient);
        add_rows(p.parts, p.wide, from, to, product);
        if (!p.across) return;
        each_pack(to - from, [&](int64_t i, auto lanes) NW_INLINED {
            const int64_t c = from + i;
            const Doubles rstd = load_double(saved.rstd + affine + c, lanes), weight = load_double(saved.weight + affine + c, lanes);
            const Doubles g = load(gradient + c, lanes), hat = load(product + c, lanes) * rstd;
            set_parameter(call->dbias, call->parameter_dtype, affine + c, g, lanes);
            set_parameter(call->dweight, call->parameter_dtype, affine + c, hat, lanes);
            const Doubles back = weight * rstd * Doubles::of(share);
            store_double(map.constant + c, g * back * Doubles::of(centred), lanes);
            store_double(map.slope + c, hat * rstd * back, lanes);
        });
    });
    for (int64_t group = 0; group < p.groups && !p.across; group++) {
        double from_gradient = 0, from_product = 0;
        const double rstd = static_cast<double>(saved.rstd[problem * p.groups + group]);
        for (int64_t c = group * p.width; c < (group + 1) * p.width; c++) {
            const double weight = static_cast<double>(saved.weight[c]);
            from_gradient += weight * gradient[c];
            from_product += weight * product[c];
            product[c] *= rstd;
        }
        const A constant = static_cast<A>(from_gradient * rstd * share * centred);
        const A slope = static_cast<A>(from_product * rstd * rstd * rstd * share);
        for (int64_t c = group * p.width; c < (group + 1) * p.width; c++) {
            map.constant[c] = constant;
            map.slope[c] = slope;
        }
    }
    p.spread(map.constant);
    p.spread(map.slope);
}

// The sums of dz and of dz · (x − mean) of each column of a part.
template <class T, Kind kind>
static inline void sums_of_columns(const Columns& p, const T* NW_RESTRICT x, const Finish<T, kind> finish, const ColumnMap<compute<T>> map,
                                   int64_t problem, int64_t part, double* gradient, double* product) {
    typedef compute<T> A;
    const int64_t begin = p.begin_of(problem), start = p.start_of_model(problem), wide = p.wide, words = p.words;
    const int64_t before = problem * p.all_words;
    const uint8_t* keep = p.keep_of(problem);
    p.template sums<A>(part, gradient, product, [=](int64_t row, int64_t c, auto lanes, Pack<A>* a, Pack<A>* b) NW_INLINED {
        const int64_t at = begin + row * wide + c;
        prefetch(x + at + 4 * ROWS * wide);
        prefetch(finish.dy + at + 4 * ROWS * wide);
        const Pack<A> d = (load(x + at, lanes) - load(map.high + c, lanes)) - load(map.low + c, lanes);
        const Pack<A> z = fma(d, load(map.scale + c, lanes), load(map.shift + c, lanes));
        const Pack<A> dz = finish.backward(z, at, at - start, before + row * words + c / LANES, keep, lanes);
        *a = *a + dz;
        *b = fma(dz, d, *b);
    });
}

// dx = scale · dz − constant − slope · (x − mean), and the residual's gradient dz. `still`: the statistics do not depend on x.
template <class T, Kind kind>
static inline void gradient_of_columns(const Columns& p, const T* NW_RESTRICT x, const Output<T> dx, const Finish<T, kind> finish,
                                       const ColumnMap<compute<T>> map, int64_t problem, int64_t part, int64_t ahead, bool still) {
    typedef compute<T> A;
    const int64_t begin = p.begin_of(problem), start = p.start_of_model(problem);
    const uint8_t* keep = p.keep_of(problem);
    p.each_wide_row(part, [&](int64_t row, int64_t columns) NW_INLINED {
        const int64_t first = begin + row * p.wide, word = problem * p.all_words + row * p.words;
        const Pack<A> weight = Pack<A>::of(p.sample_weight ? static_cast<A>(p.sample_weight[row]) : A{1});
        each_pack(columns, [&](int64_t c, auto lanes) NW_INLINED {
            const int64_t at = first + c;
            prefetch(x + at + ahead);
            prefetch(finish.dy + at + ahead);
            if (dx) dx.fetch(at + AHEAD);
            if (finish.dresidual) finish.dresidual.fetch(at + AHEAD);
            const Pack<A> d = (load(x + at, lanes) - load(map.high + c, lanes)) - load(map.low + c, lanes);
            const Pack<A> scale = load(map.scale + c, lanes), z = fma(d, scale, load(map.shift + c, lanes));
            const Pack<A> dz = finish.backward(z, at, at - start, word + c / LANES, keep, lanes);
            if (finish.dresidual) finish.dresidual.set(at, dz, lanes);
            if (!dx) return;
            if (still) {  // not by way of d: 0 times an infinity is none
                dx.set(at, scale * dz, lanes);
                return;
            }
            const Pack<A> back = weight * fma(d, load(map.slope + c, lanes), load(map.constant + c, lanes));
            dx.set(at, fma(scale, dz, Pack<A>::zero() - back), lanes);
        });
    });
}

template <class T, Kind kind> static int32_t columns_backward(const nw_norm* call) {
    typedef compute<T> A;
    const Columns p(call);
    const T* x = static_cast<const T*>(call->x);
    const Output<T> dx = output_of<T>(call->dx, call, p.run());
    const Finish<T, kind> finish(call, p.run());
    const Saved<A> saved(call->saved, p.statistics(), call->models * p.channels);
    const bool through = call->batch_statistics, write = dx || call->dresidual;
    const bool sum = (dx && through) || call->dweight || call->dbias;
    const int64_t tasks = p.problems * p.parts, ahead = p.ahead(sum && dx.past_caches());

    Scratch scratch(ColumnMap<A>::room(p) + (sum ? 2 * Scratch::room<double>(tasks * p.wide) : 0));
    if (!scratch.ok()) return 1;
    const ColumnMap<A> maps(scratch, p.problems * p.wide);
    for (int64_t problem = 0; problem < p.problems; problem++) maps.of(p, problem).fill(p, saved, problem);
    double *gradient = nullptr, *product = nullptr;
    double weights = p.count(0, p.parts) * static_cast<double>(p.width);
    if (sum) {
        gradient = scratch.take<double>(tasks * p.wide);
        product = scratch.take<double>(tasks * p.wide);
        if (p.sample_weight) {
            weights = 0;
            for (int64_t row = 0; row < p.rows; row++) weights += static_cast<double>(p.sample_weight[row]);
        }
    } else {
        memset(maps.constant, 0, static_cast<size_t>(p.problems * p.wide) * sizeof(A));
        memset(maps.slope, 0, static_cast<size_t>(p.problems * p.wide) * sizeof(A));
    }
    two_sweeps(
        p.problems, p.parts, p.elements,
        [&](int64_t i) {
            if (!sum) return;
            const int64_t at = i * p.wide, problem = i / p.parts;
            sums_of_columns(p, x, finish, maps.of(p, problem), problem, i % p.parts, gradient + at, product + at);
        },
        [&](int64_t problem) {
            if (!sum) return;
            const int64_t at = problem * p.parts * p.wide;
            conclude_columns(call, p, saved, maps.of(p, problem), problem, weights, gradient + at, product + at);
        },
        [&](int64_t i) {
            if (!write) return;
            const int64_t problem = i / p.parts;
            gradient_of_columns(p, x, dx, finish, maps.of(p, problem), problem, i % p.parts, ahead, !through);
        });
    if (!sum || p.across) return 0;
    // The samples share weight and bias; of none the sums are zero.
    each_columns(p.channels, p.problems, [&](int64_t from, int64_t to) {
        add_rows(p.problems, p.parts * p.wide, from, to, gradient);
        add_rows(p.problems, p.parts * p.wide, from, to, product);
        each_pack(to - from, [&](int64_t i, auto lanes) NW_INLINED {
            const bool none = p.problems == 0;
            set_parameter(call->dbias, call->parameter_dtype, from + i, none ? Doubles::zero() : load(gradient + from + i, lanes), lanes);
            set_parameter(call->dweight, call->parameter_dtype, from + i, none ? Doubles::zero() : load(product + from + i, lanes), lanes);
        });
    });
    return 0;
}

}  // namespace NW_ISA
}  // namespace nw
