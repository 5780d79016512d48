// Statistics across samples, or of a group of channels, with channels last: a matrix whose columns are the channels.
//
// A problem is one matrix: a model's samples and positions, or one sample's positions. It is cut into parts of a fixed number of rows,
// so that sums do not depend on the threads. Rows too short for the machine are taken several at a time as one wide row, which holds a
// channel in several columns: their sums are gathered, and what belongs to a channel is spread. So are the neighbouring
// positions of a channel, where channels come first and positions are few.
#pragma once

#include <numeric>

#include "finish.h"
#include "matrix.h"

namespace nw {
namespace NW_ISA {

struct Columns {
    bool across;
    int64_t problems, channels, inner, fold;  // a wide row: `fold` times channels times `inner` positions
    int64_t short_rows, rows, wide, last;     // rows before folding, and after; elements of a row, and of the last one
    int64_t groups, width;                    // width: channels of a group
    int64_t parts, part_rows;
    int64_t elements, keep_stride;
    int64_t words, all_words;                 // of the gate: of a row, and of a problem's rows
    const uint8_t* keep;
    const float* sample_weight;

    static constexpr int64_t PART = 65536;  // elements
    static constexpr int64_t MOST_PARTS = 256;
    static constexpr int64_t NARROW = 64, BROAD = 256;  // elements: rows below are folded, above never

    explicit Columns(const nw_norm* call)
        : across(call->family == NW_ACROSS), problems(across ? call->models : call->samples), channels(call->channels),
          inner(call->layout == NW_FIRST ? call->positions : 1), fold(1), short_rows(across ? call->samples : 1),
          groups(across ? call->channels : call->groups), keep(call->keep), sample_weight(across ? call->sample_weight : nullptr) {
        if (call->layout == NW_LAST) short_rows *= call->positions;
        width = groups > 0 ? channels / groups : 1;
        const int64_t length = channels * inner;
        elements = problems * short_rows * length;
        if (length > 0 && !sample_weight) {
            while (fold * length < BROAD && (fold * length < NARROW || fold * length % LANES != 0) && 2 * fold <= short_rows) fold *= 2;
        }
        wide = fold * length;
        rows = (short_rows + fold - 1) / fold;
        last = (short_rows - (rows - 1) * fold) * length;
        const int64_t wanted = rows * wide / PART;
        parts = wanted < 1 ? 1 : wanted > MOST_PARTS ? MOST_PARTS : wanted;
        part_rows = ((rows + parts - 1) / parts + ROWS - 1) / ROWS * ROWS;
        if (part_rows < 1) part_rows = 1;
        parts = rows > 0 ? (rows + part_rows - 1) / part_rows : 1;
        words = gate_words(wide);
        all_words = rows > 0 ? (rows - 1) * words + gate_words(last) : 0;
        keep_stride = keep_bytes(short_rows * length);
    }
    int64_t part_end(int64_t part) const { return (part + 1) * part_rows < rows ? (part + 1) * part_rows : rows; }
    int64_t statistics() const { return problems * groups; }
    // So many elements ahead the second sweep fetches what is read. Where it finds a problem in the cache and writes past it, that is
    // the next problem: memory does both at once.
    int64_t ahead(bool past_caches) const {
        return past_caches && problems > 1 && one_by_one(problems, parts, elements) ? short_rows * channels * inner : AHEAD;
    }
    // Elements after which packs begin anew: rows, and problems.
    int64_t run() const { return problems > 1 ? std::gcd(wide, last) : wide; }
    int64_t begin_of(int64_t problem) const { return problem * short_rows * channels * inner; }
    // A problem's place in weight and bias.
    int64_t affine(int64_t problem) const { return across ? problem * channels : 0; }
    const uint8_t* keep_of(int64_t problem) const { return keep && across ? keep + problem * keep_stride : keep; }
    // Elements before those that the problem's dropout counts from zero.
    int64_t start_of_model(int64_t problem) const { return across ? begin_of(problem) : 0; }
    // Values of a channel in the parts from … to.
    double count(int64_t from, int64_t to) const {
        const int64_t end = to * part_rows * fold < short_rows ? to * part_rows * fold : short_rows;
        return static_cast<double>((end - from * part_rows * fold) * inner);
    }
    // Sums of a channel's columns, in place of the first columns.
    template <class V> void gather(V* values) const {
        if (wide == channels) return;
        for (int64_t c = 0; c < channels; c++) {
            V total = 0;
            for (int64_t copy = 0; copy < fold; copy++)
                for (int64_t s = 0; s < inner; s++) total += values[(copy * channels + c) * inner + s];
            values[c] = total;
        }
    }
    // A channel's value in all its columns.
    template <class V> void spread(V* values) const {
        if (wide == channels) return;
        for (int64_t copy = fold - 1; copy >= 0; copy--)
            for (int64_t c = channels - 1; c >= 0; c--) {
                const V value = values[c];
                for (int64_t s = 0; s < inner; s++) values[(copy * channels + c) * inner + s] = value;
            }
    }
    // each(row, columns) over the rows of a part: one at a time, since the machine writes several streams slower than one.
    template <class F> NW_INLINE void each_wide_row(int64_t part, F each) const {
        const int64_t end = part_end(part);
        for (int64_t row = part * part_rows; row < end; row++) each(row, row + 1 < rows ? wide : last);
    }
    // Two sums of each channel over the rows of a part; see column_sums. `first` and `second` hold `wide` values each.
    template <class A, class Step> void sums(int64_t part, double* first, double* second, Step step) const {
        const int64_t end = part_end(part), whole = end == rows && last != wide ? end - 1 : end;
        column_sums<A>(part * part_rows, whole, wide, first, second, step);
        if (whole < end) {
            each_pack(last, [&](int64_t c, auto lanes) NW_INLINED {
                Pack<A> a = Pack<A>::zero(), b = a;
                step(whole, c, lanes, &a, &b);
                store(first + c, load(first + c, lanes) + to_double(a), lanes);
                store(second + c, load(second + c, lanes) + to_double(b), lanes);
            });
        }
        gather(first);
        gather(second);
    }
};

// Means and squares of the channels of a part, and the weight of its rows. `x` is a problem; the arrays hold `wide` values each.
template <class T>
static inline double moments_of_columns(const Columns& p, const T* NW_RESTRICT x, int64_t part, double* NW_RESTRICT mean,
                                        double* NW_RESTRICT squares, compute<T>* NW_RESTRICT about) {
    typedef compute<T> A;
    const float* w = p.sample_weight;
    const int64_t from = part * p.part_rows, to = p.part_end(part), length = p.channels * p.inner, wide = p.wide;
    double count = p.count(part, part + 1);
    if (w) {
        count = 0;
        for (int64_t row = from; row < to; row++) count += static_cast<double>(w[row]);
    }
    // The shift: the mean of a few values of the channel.
    const int64_t begin = from * p.fold, few = p.short_rows - begin < 4 ? p.short_rows - begin : 4;
    const Pack<A> share = Pack<A>::of(static_cast<A>(1.0 / static_cast<double>(few * p.inner)));
    each_pack(length, [&](int64_t c, auto lanes) NW_INLINED {
        Pack<A> sum = Pack<A>::zero();
        for (int64_t row = begin; row < begin + few; row++) sum = sum + load(x + row * length + c, lanes);
        store(about + c, sum * share, lanes);
    });
    if (p.inner > 1) {
        for (int64_t c = 0; c < p.channels; c++) {
            A sum = 0;
            for (int64_t s = 0; s < p.inner; s++) sum += about[c * p.inner + s];
            about[c] = sum;
        }
    }
    p.spread(about);
    if (w == nullptr) {
        p.template sums<A>(part, mean, squares, [=](int64_t row, int64_t c, auto lanes, Pack<A>* a, Pack<A>* b) NW_INLINED {
            prefetch(x + (row + 4 * ROWS) * wide + c);
            const Pack<A> d = load(x + row * wide + c, lanes) - load(about + c, lanes);
            *a = *a + d;
            *b = fma(d, d, *b);
        });
    } else {
        p.template sums<A>(part, mean, squares, [=](int64_t row, int64_t c, auto lanes, Pack<A>* a, Pack<A>* b) NW_INLINED {
            if (w[row] == 0) return;
            const Pack<A> d = load(x + row * wide + c, lanes) - load(about + c, lanes), weight = Pack<A>::of(static_cast<A>(w[row]));
            *a = fma(weight, d, *a);
            *b = fma(weight * d, d, *b);
        });
    }
    if (count == 0) return 0;
    for (int64_t c = 0; c < p.channels && p.inner > 1; c++) about[c] = about[c * p.inner];
    moments_of_sums(p.channels, count, true, about, mean, squares, [&](int64_t c) {
        const int64_t all = (p.short_rows < to * p.fold ? p.short_rows : to * p.fold) - begin;
        return moments_in_double(
            all * p.inner, true,
            [&](int64_t i) { return static_cast<double>(widen(x[(begin + i / p.inner) * length + c * p.inner + i % p.inner])); },
            [&](int64_t i) { return w ? static_cast<double>(w[begin + i]) : 1.0; });
    });
    return count;
}

// What a problem's columns are computed with, `wide` of each.
template <class A> struct ColumnMap {
    A *high, *low, *scale, *shift, *constant, *slope;
    static size_t room(const Columns& p) { return 6 * Scratch::room<A>(p.problems * p.wide); }
    ColumnMap(Scratch& scratch, int64_t n)
        : high(scratch.take<A>(n)), low(scratch.take<A>(n)), scale(scratch.take<A>(n)), shift(scratch.take<A>(n)),
          constant(scratch.take<A>(n)), slope(scratch.take<A>(n)) {}
    ColumnMap of(const Columns& p, int64_t problem) const {
        const int64_t i = problem * p.wide;
        return {high + i, low + i, scale + i, shift + i, constant + i, slope + i};
    }
    void fill(const Columns& p, const Saved<A>& saved, int64_t problem) const {
        const A *weight = saved.weight + p.affine(problem), *bias = saved.bias + p.affine(problem);
        const int64_t statistic = problem * p.groups;
        if (p.width == 1) {
            each_pack(p.channels, [&](int64_t c, auto lanes) NW_INLINED {
                store(high + c, load(saved.high + statistic + c, lanes), lanes);
                store(low + c, load(saved.low + statistic + c, lanes), lanes);
                store(scale + c, load(saved.rstd + statistic + c, lanes) * load(weight + c, lanes), lanes);
            });
        } else {
            for (int64_t c = 0; c < p.channels; c++) {
                const int64_t i = statistic + c / p.width;
                high[c] = saved.high[i];
                low[c] = saved.low[i];
                scale[c] = saved.rstd[i] * weight[c];
            }
        }
        memcpy(shift, bias, static_cast<size_t>(p.channels) * sizeof(A));
        p.spread(high);
        p.spread(low);
        p.spread(scale);
        p.spread(shift);
    }

private:
    ColumnMap(A* a, A* b, A* c, A* d, A* e, A* f) : high(a), low(b), scale(c), shift(d), constant(e), slope(f) {}
};

}  // namespace NW_ISA
}  // namespace nw
