// Statistics across samples, or of a group of channels, with channels last: a matrix whose columns are the channels.
//
// A problem is one matrix of `rows` × C: a model's samples and positions, or one sample's positions. It is cut into parts of a
// fixed number of rows, so that sums do not depend on the threads. Sixteen columns are taken through several rows at once, so that their
// sums and parameters stay in registers.
#pragma once

#include "abi.h"
#include "finish.h"
#include "moments.h"
#include "parallel.h"

namespace nw {
namespace NW_ISA {

struct Columns {
    bool across;
    int64_t problems, rows, channels, groups, width;  // width: channels of a group
    int64_t parts, part_rows;
    int64_t elements, words, keep_stride;
    const uint8_t* keep;
    const float* sample_weight;

    static constexpr int64_t PART = 65536;  // elements
    static constexpr int64_t MOST_PARTS = 64;
    static constexpr int BLOCK_ROWS = 16;

    explicit Columns(const nw_norm* call)
        : across(call->family == NW_ACROSS), problems(across ? call->models : call->samples),
          rows(across ? call->samples * call->positions : call->positions), channels(call->channels),
          groups(across ? call->channels : call->groups), keep(call->keep), sample_weight(across ? call->sample_weight : nullptr) {
        width = groups > 0 ? channels / groups : 1;
        elements = problems * rows * channels;
        const int64_t wanted = rows * channels / PART;
        parts = wanted < 1 ? 1 : wanted > MOST_PARTS ? MOST_PARTS : wanted;
        part_rows = (rows + parts - 1) / parts;
        part_rows = (part_rows + BLOCK_ROWS - 1) / BLOCK_ROWS * BLOCK_ROWS;
        if (part_rows < 1) part_rows = 1;
        parts = rows > 0 ? (rows + part_rows - 1) / part_rows : 1;
        words = gate_words(channels);
        keep_stride = keep_bytes(rows * channels);
    }
    int64_t part_end(int64_t part) const { return (part + 1) * part_rows < rows ? (part + 1) * part_rows : rows; }
    int64_t statistics() const { return problems * groups; }
    // A problem's place in weight and bias.
    NW_INLINE int64_t affine(int64_t problem) const { return across ? problem * channels : 0; }
    NW_INLINE const uint8_t* keep_of(int64_t problem) const { return keep && across ? keep + problem * keep_stride : keep; }
    // Elements before those that the problem's dropout counts from zero.
    NW_INLINE int64_t start_of_model(int64_t problem) const { return across ? problem * rows * channels : 0; }
};

// What a problem's columns are computed with, C of each.
template <class A> struct ColumnMap {
    A *high, *low, *scale, *shift, *constant, *slope;
    static size_t room(int64_t n) { return 6 * Scratch::room<A>(n); }
    ColumnMap(Scratch& scratch, int64_t n)
        : high(scratch.take<A>(n)), low(scratch.take<A>(n)), scale(scratch.take<A>(n)), shift(scratch.take<A>(n)),
          constant(scratch.take<A>(n)), slope(scratch.take<A>(n)) {}
    void fill(const Columns& p, const Saved<A>& saved, int64_t problem) const {
        for (int64_t c = 0; c < p.channels; c++) {
            const int64_t statistic = problem * p.groups + c / p.width, i = problem * p.channels + c;
            high[i] = saved.high[statistic];
            low[i] = saved.low[statistic];
            scale[i] = saved.rstd[statistic] * saved.weight[p.affine(problem) + c];
            shift[i] = saved.bias[p.affine(problem) + c];
        }
    }
};

// Sums of the columns of a part: `first` and `second` of C doubles each.
template <class A, class Step>
static inline void add_columns(const Columns& p, int64_t from, int64_t to, double* first, double* second, Step step) {
    memset(first, 0, static_cast<size_t>(p.channels) * sizeof(double));
    memset(second, 0, static_cast<size_t>(p.channels) * sizeof(double));
    for (int64_t row = from; row < to; row += Columns::BLOCK_ROWS) {
        const int64_t end = row + Columns::BLOCK_ROWS < to ? row + Columns::BLOCK_ROWS : to;
        each_pack(p.channels, [&](int64_t c, auto lanes) {
            Pack<A> a[2] = {Pack<A>::zero(), Pack<A>::zero()}, b[2] = {Pack<A>::zero(), Pack<A>::zero()};
            step(c, lanes, row, end, a, b);
            store(first + c, load(first + c, lanes) + to_double(a[0] + a[1]), lanes);
            store(second + c, load(second + c, lanes) + to_double(b[0] + b[1]), lanes);
        });
    }
}

// Means and squares of the columns of a part, and the weight of its rows.
template <class T>
static inline double moments_of_columns(const Columns& p, const T* NW_RESTRICT x, int64_t from, int64_t to, double* NW_RESTRICT mean,
                                        double* NW_RESTRICT squares, compute<T>* NW_RESTRICT about) {
    typedef compute<T> A;
    const float* w = p.sample_weight;
    double count = static_cast<double>(to - from);
    if (w) {
        count = 0;
        for (int64_t row = from; row < to; row++) count += static_cast<double>(w[row]);
    }
    const int64_t first_rows = to - from < 4 ? to - from : 4;
    each_pack(p.channels, [&](int64_t c, auto lanes) {
        Pack<A> sum = Pack<A>::zero();
        for (int64_t row = from; row < from + first_rows; row++) sum = sum + load(x + row * p.channels + c, lanes);
        store(about + c, sum * Pack<A>::of(static_cast<A>(1.0 / static_cast<double>(first_rows))), lanes);
    });
    const int64_t ahead = Columns::BLOCK_ROWS * p.channels;  // the block that comes next, one line in each of its rows
    if (w == nullptr) {
        add_columns<A>(p, from, to, mean, squares, [&](int64_t c, auto lanes, int64_t row, int64_t end, Pack<A>* a, Pack<A>* b) {
            const Pack<A> shift = load(about + c, lanes);
            const T* at = x + row * p.channels + c;
            int64_t left = end - row;
            for (; left >= 2; left -= 2, at += 2 * p.channels) {
                prefetch(at + ahead);
                prefetch(at + ahead + p.channels);
                const Pack<A> d0 = load(at, lanes) - shift, d1 = load(at + p.channels, lanes) - shift;
                a[0] = a[0] + d0;
                a[1] = a[1] + d1;
                b[0] = fma(d0, d0, b[0]);
                b[1] = fma(d1, d1, b[1]);
            }
            if (left) {
                const Pack<A> d = load(at, lanes) - shift;
                a[0] = a[0] + d;
                b[0] = fma(d, d, b[0]);
            }
        });
    } else {
        add_columns<A>(p, from, to, mean, squares, [&](int64_t c, auto lanes, int64_t row, int64_t end, Pack<A>* a, Pack<A>* b) {
            const Pack<A> shift = load(about + c, lanes);
            for (; row < end; row++) {
                if (w[row] == 0) continue;
                const Pack<A> d = load(x + row * p.channels + c, lanes) - shift, weight = Pack<A>::of(static_cast<A>(w[row]));
                a[0] = fma(weight, d, a[0]);
                b[0] = fma(weight * d, d, b[0]);
            }
        });
    }
    if (count == 0) return 0;
    for (int64_t c = 0; c < p.channels; c++) {
        const double first = mean[c], second = squares[c];
        if (trusted(count, first, second) || (first == 0 && second == 0)) {
            mean[c] = static_cast<double>(about[c]) + first / count;
            squares[c] = second - first * first / count;
            continue;
        }
        const auto weight_of = [&](int64_t row) { return w ? static_cast<double>(w[row]) : 1.0; };
        double total = 0, rest = 0, deviations = 0;
        for (int64_t row = from; row < to; row++)
            if (weight_of(row) != 0) total += weight_of(row) * static_cast<double>(widen(x[row * p.channels + c]));
        const double middle = total / count;
        for (int64_t row = from; row < to; row++) {
            if (weight_of(row) == 0) continue;
            const double d = static_cast<double>(widen(x[row * p.channels + c])) - middle;
            rest += weight_of(row) * d;
            deviations += weight_of(row) * d * d;
        }
        mean[c] = middle + rest / count;  // what the rounded mean missed
        squares[c] = deviations - rest * rest / count;
    }
    return count;
}

// The parts of a problem merged, in order; the whole's mean and squares end in those of part 0. Gives the count.
static inline double merge_columns(const Columns& p, const double* counts, double* mean, double* squares) {
    double count = 0;
    int64_t first = -1;
    for (int64_t part = 0; part < p.parts; part++) {
        if (counts[part] > 0 && first < 0) first = part;
        count += counts[part];
    }
    if (p.parts == 1 || first < 0) return count;
    constexpr int64_t AT_ONCE = 256;
    double apart[AT_ONCE], within[AT_ONCE], base[AT_ONCE];
    for (int64_t c = 0; c < p.channels; c += AT_ONCE) {
        const int64_t n = p.channels - c < AT_ONCE ? p.channels - c : AT_ONCE;
        for (int64_t i = 0; i < n; i++) {
            base[i] = mean[first * p.channels + c + i];
            apart[i] = within[i] = 0;
        }
        for (int64_t part = first; part < p.parts; part++) {
            if (counts[part] == 0) continue;
            const double share = counts[part] / count;
            const double* m = mean + part * p.channels + c;
            for (int64_t i = 0; i < n; i++) apart[i] += share * (m[i] - base[i]);
        }
        for (int64_t part = first; part < p.parts; part++) {
            if (counts[part] == 0) continue;
            const double *m = mean + part * p.channels + c, *s = squares + part * p.channels + c;
            for (int64_t i = 0; i < n; i++) {
                const double d = (m[i] - base[i]) - apart[i];
                within[i] += s[i] + counts[part] * d * d;
            }
        }
        for (int64_t i = 0; i < n; i++) {
            mean[c + i] = base[i] + apart[i];
            squares[c + i] = within[i];
        }
    }
    return count;
}

template <class T, Kind kind>
static inline void finish_columns(const Columns& p, const T* NW_RESTRICT x, const Finish<T, kind> finish, const ColumnMap<compute<T>>& map,
                                  int64_t problem, int64_t part) {
    typedef compute<T> A;
    constexpr int64_t AT_ONCE = 4;
    const uint8_t* keep = p.keep_of(problem);
    const int64_t begin = problem * p.rows, start = p.start_of_model(problem), m = problem * p.channels;
    const int64_t to = begin + p.part_end(part);
    for (int64_t row = begin + part * p.part_rows; row < to; row += AT_ONCE) {
        const int64_t end = row + AT_ONCE < to ? row + AT_ONCE : to;
        each_pack(p.channels, [&](int64_t c, auto lanes) {
            const Pack<A> high = load(map.high + m + c, lanes), low = load(map.low + m + c, lanes);
            const Pack<A> scale = load(map.scale + m + c, lanes), shift = load(map.shift + m + c, lanes);
            for (int64_t r = row; r < end; r++) {
                const int64_t at = r * p.channels + c;
                const Pack<A> d = (load(x + at, lanes) - high) - low;
                finish.forward(fma(d, scale, shift), at, at - start, r * p.words + c / LANES, keep, lanes);
            }
        });
    }
}

template <class T, Kind kind> static int32_t columns_forward(const nw_norm* call) {
    typedef compute<T> A;
    const Columns p(call);
    const T* x = static_cast<const T*>(call->x);
    const Finish<T, kind> finish(call);
    const int64_t affine = call->models * p.channels;
    const Saved<A> saved(call->saved, p.statistics(), affine);
    saved.set_affine(call, affine);
    const int64_t all = p.problems * p.channels, tasks = p.problems * p.parts;
    const bool measure = call->batch_statistics;

    size_t room = ColumnMap<A>::room(all);
    if (measure) room += 2 * Scratch::room<double>(tasks * p.channels) + Scratch::room<double>(tasks) + Scratch::room<A>(tasks * p.channels);
    Scratch scratch(room);
    if (!scratch.ok()) return 1;
    const ColumnMap<A> map(scratch, all);
    if (measure) {
        double* mean = scratch.take<double>(tasks * p.channels);
        double* squares = scratch.take<double>(tasks * p.channels);
        double* counts = scratch.take<double>(tasks);
        A* about = scratch.take<A>(tasks * p.channels);
        const double momentum = p.across ? momentum_of(call) : 0;
        parallel(tasks, p.elements, [&](int64_t i) {
            const int64_t problem = i / p.parts, part = i % p.parts, at = i * p.channels;
            counts[i] = moments_of_columns(p, x + problem * p.rows * p.channels, part * p.part_rows, p.part_end(part), mean + at,
                                           squares + at, about + at);
        });
        for (int64_t problem = 0; problem < p.problems; problem++) {
            const int64_t at = problem * p.parts * p.channels;
            const double count = merge_columns(p, counts + problem * p.parts, mean + at, squares + at);
            for (int64_t g = 0; g < p.groups; g++) {
                const Moments m = merge(p.width, [&](int64_t i) -> Moments {
                    return {count, mean[at + g * p.width + i], squares[at + g * p.width + i]};
                });
                double middle, variance;
                settle(m, call->centred, &middle, &variance);
                saved.set(problem * p.groups + g, middle, variance, call->eps);
                if (p.across) track(call, problem * p.groups + g, m, momentum);
            }
        }
    } else {
        for (int64_t i = 0; i < p.statistics(); i++) {
            const int64_t c = p.across ? i : i % p.groups;
            saved.set(i, parameter(call->running_mean, call->parameter_dtype, c, 0),
                      parameter(call->running_var, call->parameter_dtype, c, 1), call->eps);
        }
    }
    for (int64_t problem = 0; problem < p.problems; problem++) map.fill(p, saved, problem);
    parallel(
        tasks, p.elements, [&](int64_t i) { finish_columns(p, x, finish, map, i / p.parts, i % p.parts); }, measure);
    return 0;
}

template <class T, Kind kind> static int32_t columns_backward(const nw_norm* call) {
    typedef compute<T> A;
    constexpr int64_t AT_ONCE = 4;
    const Columns p(call);
    const T* x = static_cast<const T*>(call->x);
    T* dx = static_cast<T*>(call->dx);
    const Finish<T, kind> finish(call);
    const Saved<A> saved(call->saved, p.statistics(), call->models * p.channels);
    const bool through = call->batch_statistics, write = dx || call->dresidual;
    const bool sum = (dx && through) || call->dweight || call->dbias;
    const int64_t all = p.problems * p.channels, tasks = p.problems * p.parts;

    Scratch scratch(ColumnMap<A>::room(all) + (sum ? 2 * Scratch::room<double>(tasks * p.channels) : 0));
    if (!scratch.ok()) return 1;
    const ColumnMap<A> map(scratch, all);
    for (int64_t problem = 0; problem < p.problems; problem++) map.fill(p, saved, problem);
    memset(map.constant, 0, static_cast<size_t>(all) * sizeof(A));
    memset(map.slope, 0, static_cast<size_t>(all) * sizeof(A));

    if (sum) {
        double* gradient = scratch.take<double>(tasks * p.channels);
        double* product = scratch.take<double>(tasks * p.channels);
        parallel(tasks, p.elements, [&](int64_t i) {
            const int64_t problem = i / p.parts, part = i % p.parts;
            const int64_t begin = problem * p.rows, start = p.start_of_model(problem), m = problem * p.channels;
            const uint8_t* keep = p.keep_of(problem);
            const int64_t ahead = Columns::BLOCK_ROWS * p.channels;
            add_columns<A>(p, begin + part * p.part_rows, begin + p.part_end(part), gradient + i * p.channels, product + i * p.channels,
                           [&](int64_t c, auto lanes, int64_t row, int64_t end, Pack<A>* a, Pack<A>* b) {
                               const Pack<A> high = load(map.high + m + c, lanes), low = load(map.low + m + c, lanes);
                               const Pack<A> scale = load(map.scale + m + c, lanes), shift = load(map.shift + m + c, lanes);
                               const auto add = [&](int64_t r, Pack<A>* sum, Pack<A>* products) {
                                   const int64_t at = r * p.channels + c;
                                   prefetch(x + at + ahead);
                                   prefetch(finish.dy + at + ahead);
                                   const Pack<A> d = (load(x + at, lanes) - high) - low;
                                   const Pack<A> dz =
                                       finish.backward(fma(d, scale, shift), at, at - start, r * p.words + c / LANES, keep, lanes);
                                   *sum = *sum + dz;
                                   *products = fma(dz, only(d, lanes), *products);
                               };
                               for (; row + 2 <= end; row += 2) {
                                   add(row, &a[0], &b[0]);
                                   add(row + 1, &a[1], &b[1]);
                               }
                               if (row < end) add(row, &a[0], &b[0]);
                           });
        });
        double weights_in_all = static_cast<double>(p.rows * p.width);
        if (p.sample_weight) {
            weights_in_all = 0;
            for (int64_t row = 0; row < p.rows; row++) weights_in_all += static_cast<double>(p.sample_weight[row]);
        }
        for (int64_t problem = 0; problem < p.problems; problem++) {
            double *g = gradient + problem * p.parts * p.channels, *q = product + problem * p.parts * p.channels;
            for (int64_t part = 1; part < p.parts; part++) {
                for (int64_t c = 0; c < p.channels; c++) {
                    g[c] += g[part * p.channels + c];
                    q[c] += q[part * p.channels + c];
                }
            }
            for (int64_t group = 0; group < p.groups; group++) {
                double from_gradient = 0, from_product = 0;
                const double rstd = static_cast<double>(saved.rstd[problem * p.groups + group]);
                for (int64_t c = group * p.width; c < (group + 1) * p.width; c++) {
                    const double weight = static_cast<double>(saved.weight[p.affine(problem) + c]);
                    from_gradient += weight * g[c];
                    from_product += weight * q[c];
                    q[c] *= rstd;
                }
                if (!through || weights_in_all == 0) continue;
                const A constant = static_cast<A>(call->centred ? from_gradient * rstd / weights_in_all : 0);
                const A slope = static_cast<A>(from_product * rstd * rstd * rstd / weights_in_all);
                for (int64_t c = group * p.width; c < (group + 1) * p.width; c++) {
                    map.constant[problem * p.channels + c] = constant;
                    map.slope[problem * p.channels + c] = slope;
                }
            }
            if (!p.across && problem > 0) {  // weight and bias are shared by the samples
                for (int64_t c = 0; c < p.channels; c++) {
                    gradient[c] += g[c];
                    product[c] += q[c];
                }
            }
            if (p.across || problem + 1 == p.problems) {
                const double *bias = p.across ? g : gradient, *weight = p.across ? q : product;
                for (int64_t c = 0; c < p.channels; c++) {
                    set_parameter(call->dbias, call->parameter_dtype, p.affine(problem) + c, bias[c]);
                    set_parameter(call->dweight, call->parameter_dtype, p.affine(problem) + c, weight[c]);
                }
            }
        }
    }
    for (int64_t c = 0; p.problems == 0 && c < p.channels; c++) {  // no samples: sums of nothing
        set_parameter(call->dbias, call->parameter_dtype, c, 0);
        set_parameter(call->dweight, call->parameter_dtype, c, 0);
    }
    if (!write) return 0;
    parallel(
        tasks, p.elements,
        [&](int64_t i) {
            const int64_t problem = i / p.parts, part = i % p.parts;
            const int64_t begin = problem * p.rows, start = p.start_of_model(problem), m = problem * p.channels;
            const int64_t to = begin + p.part_end(part);
            const uint8_t* keep = p.keep_of(problem);
            for (int64_t row = begin + part * p.part_rows; row < to; row += AT_ONCE) {
                const int64_t end = row + AT_ONCE < to ? row + AT_ONCE : to;
                each_pack(p.channels, [&](int64_t c, auto lanes) {
                    const Pack<A> high = load(map.high + m + c, lanes), low = load(map.low + m + c, lanes);
                    const Pack<A> scale = load(map.scale + m + c, lanes), shift = load(map.shift + m + c, lanes);
                    const Pack<A> constant = load(map.constant + m + c, lanes), slope = load(map.slope + m + c, lanes);
                    for (int64_t r = row; r < end; r++) {
                        const int64_t at = r * p.channels + c;
                        const Pack<A> d = (load(x + at, lanes) - high) - low;
                        const Pack<A> dz = finish.backward(fma(d, scale, shift), at, at - start, r * p.words + c / LANES, keep, lanes);
                        if (finish.dresidual) store(finish.dresidual + at, dz, lanes);
                        if (!dx) continue;
                        if (!through) {  // not by way of d: 0 times an infinity is none
                            store(dx + at, scale * dz, lanes);
                            continue;
                        }
                        Pack<A> back = fma(d, slope, constant);
                        if (p.sample_weight) back = back * Pack<A>::of(static_cast<A>(p.sample_weight[r - begin]));
                        store(dx + at, fma(scale, dz, Pack<A>::zero() - back), lanes);
                    }
                });
            }
        },
        sum);
    return 0;
}

}  // namespace NW_ISA
}  // namespace nw
