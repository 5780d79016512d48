// Activations and their derivatives, a pack at a time.
//
// Float lanes use polynomials fitted for this file by least squares with reweighting towards the largest relative error:
// exp on |r| <= ln 2 / 2 (3e-9), the upper tail of the normal distribution over its density (3e-9), tanh on |x| <= 0.625 (4e-9).
// The rest of their error is float32's own rounding. Double lanes call the C library.
#pragma once

#include <cmath>

#include "abi.h"
#include "dtype.h"

namespace nw {
namespace NW_ISA {

// 2^n for whole n, held in floats, in -126 … 127.
NW_INLINE Floats power_of_two(Floats n) {
    NW_UNROLL
    for (int i = 0; i < Floats::COUNT; i++) {
#if defined(__AVX512F__)
        n.v[i] = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n.v[i]), _mm512_set1_epi32(127)), 23));
#elif defined(__AVX2__)
        n.v[i] = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n.v[i]), _mm256_set1_epi32(127)), 23));
#elif defined(NW_X86)
        n.v[i] = _mm_castsi128_ps(_mm_slli_epi32(_mm_add_epi32(_mm_cvtps_epi32(n.v[i]), _mm_set1_epi32(127)), 23));
#else
        float lanes[Floats::WIDTH];
        memcpy(lanes, &n.v[i], sizeof lanes);
        NW_UNROLL
        for (int j = 0; j < Floats::WIDTH; j++) lanes[j] = as_float(static_cast<uint32_t>(static_cast<int32_t>(lanes[j]) + 127) << 23);
        memcpy(&n.v[i], lanes, sizeof lanes);
#endif
    }
    return n;
}

NW_INLINE Floats horner(Floats x, const float* coefficients, int count) {
    Floats sum = Floats::of(coefficients[0]);
    for (int i = 1; i < count; i++) sum = fma(sum, x, Floats::of(coefficients[i]));
    return sum;
}

NW_INLINE Floats exponential(Floats x) {
    constexpr float P[] = {0.0013814467f, 0.0083687808f, 0.0416683927f, 0.1666651964f, 0.4999999404f};
    // Clamped so that 2^n is infinite above; below, where the result would be denormal, it is zero.
    const Floats near = at_most(at_least(x, Floats::of(-87.0f)), Floats::of(89.0f));
    // Adding 1.5 · 2^23 rounds to a whole number.
    const Floats magic = Floats::of(12582912.0f);
    const Floats n = fma(near, Floats::of(1.44269504f), magic) - magic;
    const Floats r = fma(n, Floats::of(2.12194440e-4f), fma(n, Floats::of(-0.693359375f), near));  // ln 2 in two parts
    const Floats one = Floats::of(1.0f);
    return where_negative(x + Floats::of(87.0f), Floats::zero(), fma(r * r, horner(r, P, 5), r + one) * power_of_two(n));
}

NW_INLINE Doubles exponential(Doubles x) {
    double lanes[LANES];
    x.store(lanes);
    NW_UNROLL
    for (int i = 0; i < LANES; i++) lanes[i] = std::exp(lanes[i]);
    return Doubles::load(lanes);
}

template <class A> NW_INLINE Pack<A> absolute(Pack<A> x) { return where_negative(x, Pack<A>::zero() - x, x); }

template <class A> NW_INLINE Pack<A> sigmoid(Pack<A> x) {
    const Pack<A> one = Pack<A>::of(1);
    return one / (one + exponential(Pack<A>::zero() - x));
}

NW_INLINE Floats tangent(Floats x) {
    constexpr float P[] = {-0.0057034590f, 0.0206377748f, -0.0537393317f, 0.1333143711f, -0.3333328068f};
    const Floats one = Floats::of(1.0f), two = Floats::of(2.0f), size = absolute(x), square = x * x;
    const Floats small = fma(x * square, horner(square, P, 5), x);
    const Floats large = one - two / (exponential(size + size) + one);
    const Floats signed_large = where_negative(x, Floats::zero() - large, large);
    return where_negative(size - Floats::of(0.625f), small, signed_large);
}
NW_INLINE Doubles tangent(Doubles x) {
    double lanes[LANES];
    x.store(lanes);
    NW_UNROLL
    for (int i = 0; i < LANES; i++) lanes[i] = std::tanh(lanes[i]);
    return Doubles::load(lanes);
}

// The normal distribution function and its density.
struct NormalFloats { Floats cumulative, density; };
NW_INLINE NormalFloats normal(Floats x) {
    constexpr float P[] = {-0.0205946378f, 0.1122733727f, -0.2278171927f, 0.1912336498f, -0.0789446011f,
                           0.0958873630f, 0.0784875825f, 0.1102133095f, 0.1195746213f, 0.1196865365f};
    const Floats one = Floats::of(1.0f), size = absolute(x);
    const Floats bell = exponential(Floats::of(-0.5f) * x * x);
    const Floats t = one / fma(Floats::of(0.3f), size, one);
    const Floats tail = t * horner(t, P, 10) * bell;
    return {where_negative(x, tail, one - tail), bell * Floats::of(0.398942280f)};
}
struct NormalDoubles { Doubles cumulative, density; };
NW_INLINE NormalDoubles normal(Doubles x) {
    double lanes[LANES], cumulative[LANES];
    x.store(lanes);
    NW_UNROLL
    for (int i = 0; i < LANES; i++) cumulative[i] = 0.5 * std::erfc(-lanes[i] * 0.70710678118654752440);
    const Doubles density = exponential(Doubles::of(-0.5) * x * x) * Doubles::of(0.39894228040143267794);
    return {Doubles::load(cumulative), density};
}

constexpr double SLOPE = 0.01;  // of leaky ReLU below zero, as in torch

// Activations that a kernel is compiled for: none, ReLU, and the rest, told apart at run time.
enum Kind { PLAIN, RELU, SMOOTH };

// The rest: too much code to be a part of every kernel, and work enough to be called.
template <class A> NW_CALLED Pack<A> smooth(Pack<A> z, int32_t activation) {
    switch (activation) {
        case NW_LEAKY_RELU: return where_negative(z, Pack<A>::of(static_cast<A>(SLOPE)) * z, z);
        case NW_GELU: return z * normal(z).cumulative;
        case NW_SILU: return z * sigmoid(z);
        case NW_TANH: return tangent(z);
        default: return sigmoid(z);
    }
}
template <class A> NW_CALLED Pack<A> smooth_back(Pack<A> z, Pack<A> dy, int32_t activation) {
    const Pack<A> one = Pack<A>::of(1);
    switch (activation) {
        case NW_LEAKY_RELU: {
            const uint32_t above = above_zero(z);
            return where_set(above, dy) + Pack<A>::of(static_cast<A>(SLOPE)) * where_set(~above, dy);
        }
        case NW_GELU: {
            const auto at = normal(z);
            return dy * fma(z, at.density, at.cumulative);
        }
        case NW_SILU: {
            const Pack<A> s = sigmoid(z);
            return dy * s * fma(z, one - s, one);
        }
        case NW_TANH: {
            const Pack<A> t = tangent(z);
            return dy * (one - t * t);
        }
        default: {
            const Pack<A> s = sigmoid(z);
            return dy * s * (one - s);
        }
    }
}

template <Kind kind, class A> NW_INLINE Pack<A> activate(Pack<A> z, int32_t activation) {
    if constexpr (kind == PLAIN) return z;
    if constexpr (kind == RELU) return where_negative(z, Pack<A>::zero(), z);
    if constexpr (kind == SMOOTH) return smooth(z, activation);
}

// The gradient dy of activate(z), carried back to z.
template <Kind kind, class A> NW_INLINE Pack<A> carry_back(Pack<A> z, Pack<A> dy, int32_t activation) {
    if constexpr (kind == PLAIN) return dy;
    if constexpr (kind == RELU) return where_set(above_zero(z), dy);
    if constexpr (kind == SMOOTH) return smooth_back(z, dy, activation);
}

}  // namespace NW_ISA
}  // namespace nw
