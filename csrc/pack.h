// A few lanes of float or double, as the machine's vectors hold them.
//
// A pack of floats is one machine vector, or two where vectors are short: more would not stay in registers. Wider vector types
// than the machine's are lowered badly by compilers (3 to 12 times slower), so a pack is an array of the machine's own.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#define NW_X86 1
#endif

#if defined(__GNUC__) || defined(__clang__)
#define NW_INLINE inline __attribute__((always_inline))
#define NW_CALLED static __attribute__((noinline))
// After a lambda's parameters: a pack that is handed to a function goes through memory.
#define NW_INLINED __attribute__((always_inline))
#define NW_RESTRICT __restrict__
// Unrolled before anything else, so that a pack's vectors live in registers.
#if defined(__clang__)
#define NW_UNROLL _Pragma("unroll")
#else
#define NW_UNROLL _Pragma("GCC unroll 16")
#endif
#else
#define NW_INLINE __forceinline
#define NW_CALLED static __declspec(noinline)
#define NW_INLINED
#define NW_RESTRICT __restrict
#define NW_UNROLL
#endif

// A name space for each instruction set: equal names would be merged by the linker.
#ifndef NW_ISA
#define NW_ISA baseline
#endif

namespace nw {
namespace NW_ISA {

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX2__)
constexpr int VECTOR_BYTES = 32;
#elif defined(__GNUC__) || defined(__clang__)
constexpr int VECTOR_BYTES = 16;
#else
constexpr int VECTOR_BYTES = 0;
#endif

constexpr int LANES = VECTOR_BYTES > 32 ? VECTOR_BYTES / 4 : 8;

#if defined(__GNUC__) || defined(__clang__)
template <class A> struct vector_of { typedef A type __attribute__((vector_size(VECTOR_BYTES))); };
#else
template <class A> struct vector_of { typedef A type; };
#endif

template <class A> struct Pack {
    typedef typename vector_of<A>::type V;
    static constexpr int WIDTH = sizeof(V) / sizeof(A);
    static constexpr int COUNT = LANES / WIDTH;
    V v[COUNT];

    NW_INLINE static Pack of(A value) {
        Pack p;
        NW_UNROLL
        for (int i = 0; i < COUNT; i++) p.v[i] = V{} + value;
        return p;
    }
    NW_INLINE static Pack zero() {
        Pack p;
        NW_UNROLL
        for (int i = 0; i < COUNT; i++) p.v[i] = V{};
        return p;
    }
    // The value in the first lane, zero in the rest.
    NW_INLINE static Pack first(A value) {
        A lanes[LANES] = {value};
        return load(lanes);
    }
    NW_INLINE static Pack load(const A* from) {
        Pack p;
        // Vector by vector: a copy of the whole goes through memory.
        NW_UNROLL
        for (int i = 0; i < COUNT; i++) memcpy(&p.v[i], from + i * WIDTH, sizeof(V));
        return p;
    }
    NW_INLINE void store(A* to) const {
        NW_UNROLL
        for (int i = 0; i < COUNT; i++) memcpy(to + i * WIDTH, &v[i], sizeof(V));
    }
};

typedef Pack<float> Floats;
typedef Pack<double> Doubles;

// Packs that a loop may keep as sums without running out of registers.
template <class A> constexpr int SLOTS = Pack<A>::COUNT >= 4 ? 1 : 4 / Pack<A>::COUNT;

#define NW_OPERATOR(op)                                                      \
    template <class A> NW_INLINE Pack<A> operator op(Pack<A> a, Pack<A> b) { \
        NW_UNROLL                                                            \
        for (int i = 0; i < Pack<A>::COUNT; i++) a.v[i] = a.v[i] op b.v[i];  \
        return a;                                                            \
    }
NW_OPERATOR(+)
NW_OPERATOR(-)
NW_OPERATOR(*)
NW_OPERATOR(/)
#undef NW_OPERATOR

// a · b + c, rounded once where the machine can.
NW_INLINE Floats fma(Floats a, Floats b, Floats c) {
    NW_UNROLL
    for (int i = 0; i < Floats::COUNT; i++) {
#if defined(__AVX512F__)
        a.v[i] = _mm512_fmadd_ps(a.v[i], b.v[i], c.v[i]);
#elif defined(__FMA__)
        a.v[i] = _mm256_fmadd_ps(a.v[i], b.v[i], c.v[i]);
#else
        a.v[i] = a.v[i] * b.v[i] + c.v[i];
#endif
    }
    return a;
}
NW_INLINE Doubles fma(Doubles a, Doubles b, Doubles c) {
    NW_UNROLL
    for (int i = 0; i < Doubles::COUNT; i++) {
#if defined(__AVX512F__)
        a.v[i] = _mm512_fmadd_pd(a.v[i], b.v[i], c.v[i]);
#elif defined(__FMA__)
        a.v[i] = _mm256_fmadd_pd(a.v[i], b.v[i], c.v[i]);
#else
        a.v[i] = a.v[i] * b.v[i] + c.v[i];
#endif
    }
    return a;
}

NW_INLINE double square_root(double a) { return std::sqrt(a); }
NW_INLINE Doubles square_root(Doubles a) {
    NW_UNROLL
    for (int i = 0; i < Doubles::COUNT; i++) {
#if defined(__AVX512F__)
        a.v[i] = _mm512_sqrt_pd(a.v[i]);
#elif defined(__AVX2__)
        a.v[i] = _mm256_sqrt_pd(a.v[i]);
#elif defined(NW_X86)
        a.v[i] = _mm_sqrt_pd(a.v[i]);
#else
        double lanes[Doubles::WIDTH];
        memcpy(lanes, &a.v[i], sizeof lanes);
        NW_UNROLL
        for (int j = 0; j < Doubles::WIDTH; j++) lanes[j] = std::sqrt(lanes[j]);
        memcpy(&a.v[i], lanes, sizeof lanes);
#endif
    }
    return a;
}

// Lane by lane: a where it is not below b (a NaN in a stays), b elsewhere.
NW_INLINE double at_least(double a, double b) { return a < b ? b : a; }
template <class A> NW_INLINE Pack<A> at_least(Pack<A> a, Pack<A> b) {
    NW_UNROLL
    for (int i = 0; i < Pack<A>::COUNT; i++) a.v[i] = a.v[i] < b.v[i] ? b.v[i] : a.v[i];
    return a;
}
template <class A> NW_INLINE Pack<A> at_most(Pack<A> a, Pack<A> b) {
    NW_UNROLL
    for (int i = 0; i < Pack<A>::COUNT; i++) a.v[i] = a.v[i] > b.v[i] ? b.v[i] : a.v[i];
    return a;
}
// Lane by lane: c < 0 ? a : b.
template <class A> NW_INLINE Pack<A> where_negative(Pack<A> c, Pack<A> a, Pack<A> b) {
    NW_UNROLL
    for (int i = 0; i < Pack<A>::COUNT; i++) a.v[i] = c.v[i] < 0 ? a.v[i] : b.v[i];
    return a;
}

NW_INLINE Doubles to_double(Doubles a) { return a; }
NW_INLINE Doubles to_double(Floats a) {
#if defined(__AVX512F__)
    const __m512 v = a.v[0];
    return {{_mm512_cvtps_pd(_mm512_castps512_ps256(v)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))}};
#elif defined(__AVX2__)
    return {{_mm256_cvtps_pd(_mm256_castps256_ps128(a.v[0])), _mm256_cvtps_pd(_mm256_extractf128_ps(a.v[0], 1))}};
#elif defined(NW_X86)
    Doubles d;
    NW_UNROLL
    for (int i = 0; i < Floats::COUNT; i++) {
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

// Floats as lanes of another type.
template <class A> NW_INLINE Pack<A> lanes_of(Floats a);
template <> NW_INLINE Floats lanes_of<float>(Floats a) { return a; }
template <> NW_INLINE Doubles lanes_of<double>(Floats a) { return to_double(a); }

// Doubles as lanes of another type, rounded.
template <class A> NW_INLINE Pack<A> from_double(Doubles a);
template <> NW_INLINE Doubles from_double<double>(Doubles a) { return a; }
template <> NW_INLINE Floats from_double<float>(Doubles a) {
#if defined(__AVX512F__)
    const __m256 low = _mm512_cvtpd_ps(a.v[0]), high = _mm512_cvtpd_ps(a.v[1]);
    return {{_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1)}};
#elif defined(__AVX2__)
    return {{_mm256_set_m128(_mm256_cvtpd_ps(a.v[1]), _mm256_cvtpd_ps(a.v[0]))}};
#elif defined(NW_X86)
    Floats f;
    NW_UNROLL
    for (int i = 0; i < Floats::COUNT; i++) f.v[i] = _mm_movelh_ps(_mm_cvtpd_ps(a.v[2 * i]), _mm_cvtpd_ps(a.v[2 * i + 1]));
    return f;
#else
    double lanes[LANES];
    float short_lanes[LANES];
    a.store(lanes);
    NW_UNROLL
    for (int i = 0; i < LANES; i++) short_lanes[i] = static_cast<float>(lanes[i]);
    return Floats::load(short_lanes);
#endif
}

// The sum of all lanes: halves are added to each other.
NW_INLINE double sum(Doubles a) {
#if defined(__AVX512F__)
    const __m512d eight = a.v[0] + a.v[1];
    const __m256d four = _mm512_castpd512_pd256(eight) + _mm512_extractf64x4_pd(eight, 1);
    const __m128d two = _mm256_castpd256_pd128(four) + _mm256_extractf128_pd(four, 1);
    return _mm_cvtsd_f64(two) + _mm_cvtsd_f64(_mm_unpackhi_pd(two, two));
#elif defined(__AVX2__)
    const __m256d four = a.v[0] + a.v[1];
    const __m128d two = _mm256_castpd256_pd128(four) + _mm256_extractf128_pd(four, 1);
    return _mm_cvtsd_f64(two) + _mm_cvtsd_f64(_mm_unpackhi_pd(two, two));
#else
    double lanes[LANES];
    a.store(lanes);
    NW_UNROLL
    for (int n = LANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++) lanes[i] += lanes[i + n];
    return lanes[0];
#endif
}

// ---- bits: one of each lane, the first the lowest; what lies above them is not read -------------------------------------

// A bit for each lane that is not at most zero; a NaN counts, as in torch's threshold.
NW_INLINE uint32_t above_zero(Floats a) {
    uint32_t bits = 0;
    NW_UNROLL
    for (int i = 0; i < Floats::COUNT; i++) {
#if defined(__AVX512F__)
        bits |= static_cast<uint32_t>(_mm512_cmp_ps_mask(a.v[i], _mm512_setzero_ps(), _CMP_NLE_UQ));
#elif defined(__AVX2__)
        bits |= static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a.v[i], _mm256_setzero_ps(), _CMP_NLE_UQ)));
#elif defined(NW_X86)
        bits |= static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpnle_ps(a.v[i], _mm_setzero_ps()))) << (4 * i);
#else
        float lanes[Floats::WIDTH];
        memcpy(lanes, &a.v[i], sizeof lanes);
        NW_UNROLL
        for (int j = 0; j < Floats::WIDTH; j++) bits |= static_cast<uint32_t>(!(lanes[j] <= 0)) << (Floats::WIDTH * i + j);
#endif
    }
    return bits;
}
NW_INLINE uint32_t above_zero(Doubles a) {
    uint32_t bits = 0;
    NW_UNROLL
    for (int i = 0; i < Doubles::COUNT; i++) {
#if defined(__AVX512F__)
        bits |= static_cast<uint32_t>(_mm512_cmp_pd_mask(a.v[i], _mm512_setzero_pd(), _CMP_NLE_UQ)) << (8 * i);
#elif defined(__AVX2__)
        bits |= static_cast<uint32_t>(_mm256_movemask_pd(_mm256_cmp_pd(a.v[i], _mm256_setzero_pd(), _CMP_NLE_UQ))) << (4 * i);
#elif defined(NW_X86)
        bits |= static_cast<uint32_t>(_mm_movemask_pd(_mm_cmpnle_pd(a.v[i], _mm_setzero_pd()))) << (2 * i);
#else
        double lanes[Doubles::WIDTH];
        memcpy(lanes, &a.v[i], sizeof lanes);
        NW_UNROLL
        for (int j = 0; j < Doubles::WIDTH; j++) bits |= static_cast<uint32_t>(!(lanes[j] <= 0)) << (Doubles::WIDTH * i + j);
#endif
    }
    return bits;
}

// a where the lane's bit is set, 0 elsewhere.
NW_INLINE Floats where_set(uint32_t bits, Floats a) {
    NW_UNROLL
    for (int i = 0; i < Floats::COUNT; i++) {
#if defined(__AVX512F__)
        a.v[i] = _mm512_maskz_mov_ps(static_cast<__mmask16>(bits), a.v[i]);
#elif defined(__AVX2__)
        const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        const __m256i set = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), lane);
        a.v[i] = _mm256_and_ps(a.v[i], _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lane)));
#elif defined(NW_X86)
        const __m128i lane = _mm_setr_epi32(1 << (4 * i), 2 << (4 * i), 4 << (4 * i), 8 << (4 * i));
        const __m128i set = _mm_and_si128(_mm_set1_epi32(static_cast<int>(bits)), lane);
        a.v[i] = _mm_and_ps(a.v[i], _mm_castsi128_ps(_mm_cmpeq_epi32(set, lane)));
#else
        float lanes[Floats::WIDTH];
        memcpy(lanes, &a.v[i], sizeof lanes);
        NW_UNROLL
        for (int j = 0; j < Floats::WIDTH; j++) lanes[j] = (bits >> (Floats::WIDTH * i + j)) & 1 ? lanes[j] : 0;
        memcpy(&a.v[i], lanes, sizeof lanes);
#endif
    }
    return a;
}
NW_INLINE Doubles where_set(uint32_t bits, Doubles a) {
    NW_UNROLL
    for (int i = 0; i < Doubles::COUNT; i++) {
#if defined(__AVX512F__)
        a.v[i] = _mm512_maskz_mov_pd(static_cast<__mmask8>(bits >> (8 * i)), a.v[i]);
#elif defined(__AVX2__)
        const __m256i lane = _mm256_setr_epi64x(1, 2, 4, 8);
        const __m256i set = _mm256_and_si256(_mm256_set1_epi64x(static_cast<int>(bits >> (4 * i))), lane);
        a.v[i] = _mm256_and_pd(a.v[i], _mm256_castsi256_pd(_mm256_cmpeq_epi64(set, lane)));
#elif defined(NW_X86)
        const __m128i lane = _mm_setr_epi32(1 << (2 * i), 1 << (2 * i), 2 << (2 * i), 2 << (2 * i));
        const __m128i set = _mm_and_si128(_mm_set1_epi32(static_cast<int>(bits)), lane);
        a.v[i] = _mm_and_pd(a.v[i], _mm_castsi128_pd(_mm_cmpeq_epi32(set, lane)));
#else
        double lanes[Doubles::WIDTH];
        memcpy(lanes, &a.v[i], sizeof lanes);
        NW_UNROLL
        for (int j = 0; j < Doubles::WIDTH; j++) lanes[j] = (bits >> (Doubles::WIDTH * i + j)) & 1 ? lanes[j] : 0;
        memcpy(&a.v[i], lanes, sizeof lanes);
#endif
    }
    return a;
}

// How many lanes a step handles: all, or fewer.
struct Full {
    NW_INLINE int count() const { return LANES; }
    NW_INLINE uint32_t mask() const { return (1u << LANES) - 1; }
};
struct Part {
    int n;
    NW_INLINE int count() const { return n; }
    NW_INLINE uint32_t mask() const { return (1u << n) - 1; }
};

// Zero in the lanes that a step does not handle.
template <class A> NW_INLINE Pack<A> only(Pack<A> a, Full) { return a; }
template <class A> NW_INLINE Pack<A> only(Pack<A> a, Part part) { return where_set(part.mask(), a); }

// step(i, lanes) over 0 … n in packs.
template <class F> NW_INLINE void each_pack(int64_t n, F step) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) step(i, Full{});
    if (i < n) step(i, Part{static_cast<int>(n - i)});
}

// Bring a line closer that is read, or written, soon.
NW_INLINE void prefetch(const void* address) {
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(address, 0, 2);
#else
    (void)address;
#endif
}
// What went past the caches is in its place before anything that follows.
NW_INLINE void streamed() {
#if defined(NW_X86)
    _mm_sfence();
#endif
}
NW_INLINE void prefetch_to_write(const void* address) {
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(address, 1, 2);
#else
    (void)address;
#endif
}

}  // namespace NW_ISA
}  // namespace nw
