// Sums of many values, and the moments of parts merged into those of a whole.
//
// Values are summed about a shift near their mean in float lanes of few terms, which are then flushed into double. Where the shift
// turns out to be far from the mean, or a sum is not finite, the part is done again in double, in two passes: so the variance is
// right for |mean| / std = 1e4 and beyond, at the price of one comparison.
#pragma once

#include "abi.h"
#include "dtype.h"

namespace nw {
namespace NW_ISA {

struct Moments {
    double count, mean, squares;  // squares: of the deviations from the mean
};

// Two sums of lanes: each pair is added to float lanes, which are emptied into double before they lose bits.
template <class A> class TwoSums {
public:
    NW_INLINE TwoSums() : first_(Doubles::zero()), second_(Doubles::zero()) { clear(); }
    // Lanes rotate, so that additions do not wait for each other. `slot` is below SLOTS.
    NW_INLINE void add(int slot, Pack<A> a, Pack<A> b) {
        a_[slot] = a_[slot] + a;
        b_[slot] = b_[slot] + b;
    }
    NW_INLINE void add_square(int slot, Pack<A> d) {
        a_[slot] = a_[slot] + d;
        b_[slot] = fma(d, d, b_[slot]);
    }
    NW_INLINE void add_product(int slot, Pack<A> a, Pack<A> d) {
        a_[slot] = a_[slot] + a;
        b_[slot] = fma(a, d, b_[slot]);
    }
    // To be called after every step of SLOTS additions or fewer.
    NW_INLINE void step() {
        if (++steps_ == MOST) flush();
    }
    NW_INLINE void flush() {
        NW_UNROLL
        for (int i = 1; i < SLOTS<A>; i++) {
            a_[0] = a_[0] + a_[i];
            b_[0] = b_[0] + b_[i];
        }
        first_ = first_ + to_double(a_[0]);
        second_ = second_ + to_double(b_[0]);
        clear();
    }
    NW_INLINE double first() const { return sum(first_); }
    NW_INLINE double second() const { return sum(second_); }

private:
    static constexpr int MOST = 32;
    NW_INLINE void clear() {
        NW_UNROLL
        for (int i = 0; i < SLOTS<A>; i++) a_[i] = b_[i] = Pack<A>::zero();
        steps_ = 0;
    }
    Pack<A> a_[SLOTS<A>], b_[SLOTS<A>];
    Doubles first_, second_;
    int steps_;
};

// step(i, slot, lanes) over 0 … n, in SLOTS packs at once, with sums.step() between.
template <class A, class F> NW_INLINE void each_slot(TwoSums<A>& sums, int64_t n, F step) {
    int64_t i = 0;
    for (; i + SLOTS<A> * LANES <= n; i += SLOTS<A> * LANES) {
        NW_UNROLL
        for (int slot = 0; slot < SLOTS<A>; slot++) step(i + slot * LANES, slot, Full{});
        sums.step();
    }
    for (; i + LANES <= n; i += LANES) {
        step(i, 0, Full{});
        sums.step();
    }
    if (i < n) {
        step(i, 0, Part{static_cast<int>(n - i)});
        sums.step();
    }
}

// The mean of the first values of a row: the shift of a part that begins there.
template <class T> NW_INLINE compute<T> shift_of(const T* row, int64_t n) {
    if (n >= LANES) return static_cast<compute<T>>(sum(load_double(row, Full{})) * (1.0 / LANES));
    return static_cast<compute<T>>(sum(load_double(row, Part{static_cast<int>(n)})) / static_cast<double>(n));
}

// The machine looks ahead within a row only; the rows of a channel lie far apart. So many rows ahead a kernel fetches by itself.
NW_INLINE int64_t rows_ahead(int64_t length) { return 1 + 2048 / (length > 0 ? length : 1); }

// Whether sums about a shift are exact enough: the mean within two standard deviations of it, and finite.
NW_INLINE bool trusted(double count, double first, double second) {
    const double mean = first / count, variance = second / count, margin = 5 * mean * mean;
    return margin <= 4 * variance && variance <= 1e300;
}
// The same lane by lane, as bits. `first` and `second` are divided by the count already.
NW_INLINE uint32_t distrusted(Doubles mean, Doubles variance) {
    return above_zero(Doubles::of(5) * mean * mean - Doubles::of(4) * variance) | above_zero(variance - Doubles::of(1e300));
}

// Moments of what at(0) … at(n) give as doubles, in two passes: exact where lanes were not. `weight(i)` of zero leaves one out.
// Not centred: about zero.
template <class At, class Weight> static inline Moments moments_in_double(int64_t n, bool centred, At at, Weight weight) {
    double count = 0, total = 0, rest = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        const double w = weight(i);
        count += w;
        if (w != 0) total += w * at(i);
    }
    if (count == 0) return {0, 0, 0};
    const double mean = centred ? total / count : 0;
    for (int64_t i = 0; i < n; i++) {
        const double w = weight(i);
        if (w == 0) continue;
        const double d = at(i) - mean;
        rest += w * d;
        squares += w * d * d;
    }
    if (!centred) return {count, 0, squares};
    return {count, mean + rest / count, squares - rest * rest / count};  // what the rounded mean missed
}

// Moments of several rows of `length` values: row(k) for from … to of `rows`; weights(k), null for 1, of a row's values.
template <class T, class Row, class Weights>
NW_INLINE Moments moments_of_rows(int64_t from, int64_t to, int64_t rows, int64_t length, Row row, Weights weights) {
    typedef compute<T> A;
    if (from >= to || length == 0) return {0, 0, 0};
    const A shift = shift_of(row(from), length);
    const Pack<A> about = Pack<A>::of(shift);
    TwoSums<A> sums;
    double count = 0;
    const int64_t ahead = rows_ahead(length);
    for (int64_t k = from; k < to; k++) {
        const T* x = row(k);
        const float* w = weights(k);
        if (w == nullptr) {
            const T* next = k + ahead < rows ? row(k + ahead) : x;
            each_slot(sums, length, [&](int64_t i, int slot, auto lanes) NW_INLINED {
                prefetch(next + i);
                sums.add_square(slot, only(load(x + i, lanes) - about, lanes));
            });
            count += static_cast<double>(length);
            continue;
        }
        for (int64_t i = 0; i < length; i++) {
            const A d = w[i] == 0 ? 0 : widen(x[i]) - shift;
            const A weighted = static_cast<A>(w[i]) * d;
            sums.add(0, Pack<A>::first(weighted), Pack<A>::first(weighted * d));
            sums.step();
            count += static_cast<double>(w[i]);
        }
    }
    sums.flush();
    if (count == 0) return {0, 0, 0};
    const double first = sums.first(), second = sums.second();
    if (trusted(count, first, second)) return {count, static_cast<double>(shift) + first / count, second - first * first / count};
    return moments_in_double(
        (to - from) * length, true, [&](int64_t i) { return static_cast<double>(widen(row(from + i / length)[i % length])); },
        [&](int64_t i) {
            const float* w = weights(from + i / length);
            return w ? static_cast<double>(w[i % length]) : 1.0;
        });
}

// Parts 0 … n merged in order; part(i) gives Moments.
template <class Part> static inline Moments merge(int64_t n, Part part) {
    Moments whole = {0, 0, 0};
    for (int64_t i = 0; i < n; i++) {
        const Moments next = part(i);
        if (next.count == 0) continue;
        if (whole.count == 0) {
            whole = next;
            continue;
        }
        const double count = whole.count + next.count, apart = next.mean - whole.mean;
        whole.squares += next.squares + apart * apart * whole.count * next.count / count;
        whole.mean += apart * next.count / count;
        whole.count = count;
    }
    return whole;
}

}  // namespace NW_ISA
}  // namespace nw
