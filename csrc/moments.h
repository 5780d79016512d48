// Sums of many values, and the moments of parts merged into those of a whole.
//
// Values are summed about a shift near their mean in float lanes of few terms, which are then flushed into double. Where the shift
// turns out to be far from the mean, or a sum is not finite, the part is done again in double, in two passes: so the variance is
// right for |mean| / std = 1e4 and beyond, at the price of one comparison.
#pragma once

#include <cmath>

#include "abi.h"
#include "pack.h"

namespace nw {
namespace NW_ISA {

NW_INLINE Doubles to_double(Doubles a) { return a; }
NW_INLINE Doubles to_double(Floats a) {
#if defined(__AVX512F__)
    const __m512 v = a.v[0];
    return {{_mm512_cvtps_pd(_mm512_castps512_ps256(v)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))}};
#elif defined(__AVX2__)
    Doubles d;
    NW_UNROLL
    for (int i = 0; i < 2; i++) {
        d.v[2 * i] = _mm256_cvtps_pd(_mm256_castps256_ps128(a.v[i]));
        d.v[2 * i + 1] = _mm256_cvtps_pd(_mm256_extractf128_ps(a.v[i], 1));
    }
    return d;
#elif defined(NW_X86)
    Doubles d;
    NW_UNROLL
    for (int i = 0; i < 4; i++) {
        d.v[2 * i] = _mm_cvtps_pd(a.v[i]);
        d.v[2 * i + 1] = _mm_cvtps_pd(_mm_movehl_ps(a.v[i], a.v[i]));
    }
    return d;
#else
    float lanes[LANES];
    double wide[LANES];
    a.store(lanes);
    NW_UNROLL
    for (int i = 0; i < LANES; i++) wide[i] = lanes[i];
    return Doubles::load(wide);
#endif
}

// The sum of all lanes: halves are added to each other, so that its order is the same on every machine.
NW_INLINE double sum(Doubles a) {
#if defined(__AVX512F__)
    const __m512d eight = a.v[0] + a.v[1];
    const __m256d four = _mm512_castpd512_pd256(eight) + _mm512_extractf64x4_pd(eight, 1);
    const __m128d two = _mm256_castpd256_pd128(four) + _mm256_extractf128_pd(four, 1);
    return two[0] + two[1];
#elif defined(__AVX2__)
    const __m256d four = (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]);
    const __m128d two = _mm256_castpd256_pd128(four) + _mm256_extractf128_pd(four, 1);
    return two[0] + two[1];
#else
    double lanes[LANES];
    a.store(lanes);
    for (int n = LANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++) lanes[i] += lanes[i + n];
    return lanes[0];
#endif
}

// Float lanes as lanes of another type.
template <class A> NW_INLINE Pack<A> to(Floats a);
template <> NW_INLINE Floats to<float>(Floats a) { return a; }
template <> NW_INLINE Doubles to<double>(Floats a) { return to_double(a); }

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
        first_ = first_ + to_double((a_[0] + a_[1]) + (a_[2] + a_[3]));
        second_ = second_ + to_double((b_[0] + b_[1]) + (b_[2] + b_[3]));
        clear();
    }
    NW_INLINE double first() const { return sum(first_); }
    NW_INLINE double second() const { return sum(second_); }

    static constexpr int SLOTS = 4;

private:
    static constexpr int MOST = 32;
    NW_INLINE void clear() {
        NW_UNROLL
        for (int i = 0; i < SLOTS; i++) a_[i] = b_[i] = Pack<A>::zero();
        steps_ = 0;
    }
    Pack<A> a_[SLOTS], b_[SLOTS];
    Doubles first_, second_;
    int steps_;
};

// step(i, slot, lanes) over 0 … n, in fours of packs, with sums.step() between.
template <class A, class F> NW_INLINE void each_slot(TwoSums<A>& sums, int64_t n, F step) {
    int64_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        step(i, 0, Full{});
        step(i + LANES, 1, Full{});
        step(i + 2 * LANES, 2, Full{});
        step(i + 3 * LANES, 3, Full{});
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
    const int count = n < LANES ? static_cast<int>(n) : LANES;
    double total = 0;
    for (int i = 0; i < count; i++) total += static_cast<double>(widen(row[i]));
    return static_cast<compute<T>>(total / count);
}

// The machine looks ahead within a row only; the rows of a channel lie far apart. So many rows ahead a kernel fetches by itself.
NW_INLINE int64_t rows_ahead(int64_t length) { return 1 + 2048 / (length > 0 ? length : 1); }

// Whether sums about a shift are exact enough: the mean within two standard deviations of it, and no overflow (false for NaN).
NW_INLINE bool trusted(double count, double first, double second) {
    const double mean = first / count, variance = second / count - mean * mean;
    return mean * mean <= 4 * variance && variance <= 1e300;
}

// Moments of several rows of `length` values: row(k) for from … to of `rows`; weights(k), null for 1, of a row's values.
template <class T, class Row, class Weights>
static inline Moments moments_of_rows(int64_t from, int64_t to, int64_t rows, int64_t length, Row row, Weights weights) {
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
            each_slot(sums, length, [&](int64_t i, int slot, auto lanes) {
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
    if (trusted(count, first, second) || (first == 0 && second == 0)) {
        return {count, static_cast<double>(shift) + first / count, second - first * first / count};
    }
    double total = 0, squares = 0, rest = 0;
    for (int64_t k = from; k < to; k++) {
        const T* x = row(k);
        const float* w = weights(k);
        for (int64_t i = 0; i < length; i++) {
            if (w == nullptr) total += static_cast<double>(widen(x[i]));
            else if (w[i] != 0) total += static_cast<double>(w[i]) * static_cast<double>(widen(x[i]));
        }
    }
    const double mean = total / count;
    for (int64_t k = from; k < to; k++) {
        const T* x = row(k);
        const float* w = weights(k);
        for (int64_t i = 0; i < length; i++) {
            const double weight = w == nullptr ? 1.0 : static_cast<double>(w[i]);
            if (weight == 0) continue;
            const double d = static_cast<double>(widen(x[i])) - mean;
            rest += weight * d;
            squares += weight * d * d;
        }
    }
    // What the rounded mean missed.
    return {count, mean + rest / count, squares - rest * rest / count};
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
