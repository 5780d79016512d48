// Sums of the columns of a matrix, and what becomes of them: the core of all statistics whose values lie side by side in memory.
#pragma once

#include "moments.h"
#include "parallel.h"

namespace nw {
namespace NW_ISA {

// So many rows are taken at once: a pass over them is a loop over memory in order, and what belongs to a column is read once.
constexpr int ROWS = VECTOR_BYTES >= 32 ? 4 : 2;
template <int n> struct Times { static constexpr int value = n; };

// each(row, Times<rows>) over from … to, `most` at a time.
template <int most = ROWS, class F> NW_INLINE void each_rows(int64_t from, int64_t to, F each) {
    int64_t row = from;
    for (; row + most <= to; row += most) each(row, Times<most>{});
    for (; row < to; row++) each(row, Times<1>{});
}

// Two sums of each of n columns over rows from … to: step(row, column, lanes, a, b) adds to two packs. Sums of a few rows are
// taken in float lanes and added up in double.
template <class A, class Step>
static inline void column_sums(int64_t from, int64_t to, int64_t n, double* NW_RESTRICT first, double* NW_RESTRICT second, Step step) {
    constexpr int64_t AT_ONCE = 1024, FLUSH = 64;
    alignas(64) A sums[AT_ONCE], others[AT_ONCE];
    for (int64_t c = 0; c < n; c += AT_ONCE) {
        const int64_t columns = n - c < AT_ONCE ? n - c : AT_ONCE;
        memset(first + c, 0, static_cast<size_t>(columns) * sizeof(double));
        memset(second + c, 0, static_cast<size_t>(columns) * sizeof(double));
        for (int64_t row = from; row < to; row += FLUSH) {
            const int64_t end = row + FLUSH < to ? row + FLUSH : to;
            memset(sums, 0, static_cast<size_t>(columns) * sizeof(A));
            memset(others, 0, static_cast<size_t>(columns) * sizeof(A));
            each_rows(row, end, [&](int64_t r, auto rows) NW_INLINED {
                each_pack(columns, [&](int64_t i, auto lanes) NW_INLINED {
                    Pack<A> a[2] = {load(sums + i, lanes), Pack<A>::zero()}, b[2] = {load(others + i, lanes), Pack<A>::zero()};
                    NW_UNROLL
                    for (int k = 0; k < rows.value; k++) step(r + k, c + i, lanes, &a[k % 2], &b[k % 2]);
                    store(sums + i, rows.value > 1 ? a[0] + a[1] : a[0], lanes);
                    store(others + i, rows.value > 1 ? b[0] + b[1] : b[0], lanes);
                });
            });
            each_pack(columns, [&](int64_t i, auto lanes) NW_INLINED {
                store(first + c + i, load(first + c + i, lanes) + to_double(load(sums + i, lanes)), lanes);
                store(second + c + i, load(second + c + i, lanes) + to_double(load(others + i, lanes)), lanes);
            });
        }
    }
}

// Means and squares of n columns of `count` values from their sums about shifts, in place of the sums. redo(column) gives the moments
// of one that lanes had too few bits for. Not centred: about zero, with a mean of zero.
template <class A, class Redo>
NW_INLINE void moments_of_sums(int64_t n, double count, bool centred, const A* about, double* first, double* second, Redo redo) {
    const Doubles share = Doubles::of(1 / count);
    each_pack(n, [&](int64_t i, auto lanes) NW_INLINED {
        const Doubles sum = centred ? load(first + i, lanes) : Doubles::zero(), squares = load(second + i, lanes), mean = sum * share;
        store(first + i, to_double(load(about + i, lanes)) + mean, lanes);
        store(second + i, squares - sum * mean, lanes);
        uint32_t again = distrusted(mean, squares * share) & lanes.mask();
        for (int64_t k = i; again; k++, again >>= 1) {
            if (!(again & 1)) continue;
            const Moments m = redo(k);
            first[k] = m.mean;
            second[k] = m.squares;
        }
    });
}

// Several columns of each task of a merge; a merge of few parts is no work for a second thread.
template <class F> static inline void each_columns(int64_t n, int64_t parts, F each) {
    constexpr int64_t AT_ONCE = 128;
    parallel((n + AT_ONCE - 1) / AT_ONCE, n * parts, [&](int64_t i) {
        each(i * AT_ONCE, n - i * AT_ONCE < AT_ONCE ? n : (i + 1) * AT_ONCE);
    });
}

// Columns from … to of `parts` rows of doubles, `stride` apart, added up in the first.
static inline void add_rows(int64_t parts, int64_t stride, int64_t from, int64_t to, double* rows) {
    for (int64_t part = 1; part < parts; part++) {
        const double* NW_RESTRICT more = rows + part * stride;
        for (int64_t c = from; c < to; c++) rows[c] += more[c];
    }
}

// The same of means and squares of counts[part] values each, weighted. Gives the count of the whole.
static inline double merge_rows(int64_t parts, int64_t stride, int64_t from, int64_t to, const double* counts, double* mean, double* squares) {
    double count = counts[0];
    for (int64_t part = 1; part < parts; part++) {
        if (counts[part] == 0) continue;
        const double before = count;
        count += counts[part];
        const double share = counts[part] / count, weight = before * share;
        const double *m = mean + part * stride, *s = squares + part * stride;
        for (int64_t c = from; c < to; c++) {
            const double apart = m[c] - mean[c];
            squares[c] = before == 0 ? s[c] : squares[c] + (s[c] + apart * apart * weight);
            mean[c] = before == 0 ? m[c] : mean[c] + apart * share;
        }
    }
    return count;
}

}  // namespace NW_ISA
}  // namespace nw
