// Sixteen lanes of float or double, whatever the machine's vectors hold, and the dtypes' way in and out of them.
//
// Every kernel is written for packs of 16, so that the order of its sums does not depend on the instruction set. A pack is
// an array of machine vectors: wider vector types than the machine's are lowered badly by compilers (3 to 12 times slower).
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#define NW_X86 1
#endif

#if defined(__GNUC__) || defined(__clang__)
#define NW_INLINE inline __attribute__((always_inline))
#define NW_RESTRICT __restrict__
// Unrolled before anything else, so that a pack's vectors live in registers.
#if defined(__clang__)
#define NW_UNROLL _Pragma("unroll")
#else
#define NW_UNROLL _Pragma("GCC unroll 16")
#endif
#else
#define NW_INLINE __forceinline
#define NW_RESTRICT __restrict
#define NW_UNROLL
#endif

// A name space for each instruction set: equal names would be merged by the linker.
#ifndef NW_ISA
#define NW_ISA baseline
#endif

namespace nw {
namespace NW_ISA {

constexpr int LANES = 16;

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX2__)
constexpr int VECTOR_BYTES = 32;
#elif defined(__GNUC__) || defined(__clang__)
constexpr int VECTOR_BYTES = 16;
#else
constexpr int VECTOR_BYTES = 0;
#endif

#if defined(__GNUC__) || defined(__clang__)
template <class A> struct vector_of { typedef A type __attribute__((vector_size(VECTOR_BYTES))); };
#else
template <class A> struct vector_of { typedef A type; };
#endif

// The scalar bit pattern of a lane.
template <class A> struct bits_of;
template <> struct bits_of<float> { typedef int32_t type; };
template <> struct bits_of<double> { typedef int64_t type; };

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

#define NW_OPERATOR(op)                                                     \
    template <class A> NW_INLINE Pack<A> operator op(Pack<A> a, Pack<A> b) { \
        NW_UNROLL \
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

// Lane by lane: a where it is not below b (a NaN in a stays), b elsewhere.
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

// ---- bits: one of each lane -------------------------------------------------------------------------------------------

// A bit for each lane that is not at most zero; a NaN counts, as in torch's threshold.
NW_INLINE uint32_t above_zero(Floats a) {
    uint32_t bits = 0;
    NW_UNROLL
    for (int i = 0; i < Floats::COUNT; i++) {
#if defined(__AVX512F__)
        bits |= static_cast<uint32_t>(_mm512_cmp_ps_mask(a.v[i], _mm512_setzero_ps(), _CMP_NLE_UQ)) << (16 * i);
#elif defined(__AVX2__)
        bits |= static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a.v[i], _mm256_setzero_ps(), _CMP_NLE_UQ))) << (8 * i);
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
    double lanes[LANES];
    a.store(lanes);
    uint32_t bits = 0;
    NW_UNROLL
    for (int i = 0; i < LANES; i++) bits |= static_cast<uint32_t>(!(lanes[i] <= 0)) << i;
    return bits;
}

// a where the lane's bit is set, 0 elsewhere.
NW_INLINE Floats where_set(uint32_t bits, Floats a) {
    NW_UNROLL
    for (int i = 0; i < Floats::COUNT; i++) {
#if defined(__AVX512F__)
        a.v[i] = _mm512_maskz_mov_ps(static_cast<__mmask16>(bits >> (16 * i)), a.v[i]);
#elif defined(__AVX2__)
        const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        const __m256i set = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits >> (8 * i))), lane);
        a.v[i] = _mm256_and_ps(a.v[i], _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lane)));
#elif defined(NW_X86)
        const __m128i lane = _mm_setr_epi32(1, 2, 4, 8);
        const __m128i set = _mm_and_si128(_mm_set1_epi32(static_cast<int>(bits >> (4 * i))), lane);
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
    double lanes[LANES];
    a.store(lanes);
    NW_UNROLL
    for (int i = 0; i < LANES; i++) lanes[i] = (bits >> i) & 1 ? lanes[i] : 0;
    return Doubles::load(lanes);
}

// ---- dtypes -----------------------------------------------------------------------------------------------------------

struct bf16 { uint16_t bits; };
struct f16 { uint16_t bits; };

// What a dtype is computed in.
template <class T> struct compute_of { typedef float type; };
template <> struct compute_of<double> { typedef double type; };
template <class T> using compute = typename compute_of<T>::type;

NW_INLINE float as_float(uint32_t bits) { float value; memcpy(&value, &bits, 4); return value; }
NW_INLINE uint32_t as_bits(float value) { uint32_t bits; memcpy(&bits, &value, 4); return bits; }

NW_INLINE float widen(float x) { return x; }
NW_INLINE double widen(double x) { return x; }
NW_INLINE float widen(bf16 x) { return as_float(static_cast<uint32_t>(x.bits) << 16); }
NW_INLINE float widen(f16 x) {
    const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000) << 16, rest = static_cast<uint32_t>(x.bits & 0x7fff) << 13;
    // Read as a float, a half has an exponent too small by 112; infinities and NaN get the largest one.
    const uint32_t value = as_bits(as_float(rest) * 0x1p112f) | (rest >= 0x0f800000 ? 0x7f800000 : 0);
    return as_float(value | sign);
}

template <class T> NW_INLINE T narrow(compute<T> x);
template <> NW_INLINE float narrow<float>(float x) { return x; }
template <> NW_INLINE double narrow<double>(double x) { return x; }
template <> NW_INLINE bf16 narrow<bf16>(float x) {
    const uint32_t bits = as_bits(x);
    if (x != x) return {static_cast<uint16_t>((bits >> 16) | 0x40)};
    return {static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};  // to the nearest, ties to even
}
template <> NW_INLINE f16 narrow<f16>(float x) {
    const uint32_t bits = as_bits(x), sign = (bits >> 16) & 0x8000, size = bits & 0x7fffffff;
    uint32_t half;
    if (size >= 0x47800000) {  // 2^16 and above
        half = size > 0x7f800000 ? 0x7e00 : 0x7c00;
    } else if (size < 0x38800000) {  // below 2^-14: adding a half puts the bits in place, rounded
        half = as_bits(as_float(size) + 0.5f) - as_bits(0.5f);
    } else {
        half = (size + 0xc8000fff + ((size >> 13) & 1)) >> 13;
    }
    return {static_cast<uint16_t>(half | sign)};
}

NW_INLINE Floats load(const float* from) { return Floats::load(from); }
NW_INLINE Doubles load(const double* from) { return Doubles::load(from); }
NW_INLINE void store(float* to, Floats a) { a.store(to); }
NW_INLINE void store(double* to, Doubles a) { a.store(to); }

NW_INLINE Floats load(const bf16* from) {
#if defined(__AVX512F__)
    const __m256i narrow = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return {{_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16))}};
#elif defined(__AVX2__)
    Floats a;
    NW_UNROLL
    for (int i = 0; i < 2; i++) {
        const __m128i narrow = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 8 * i));
        a.v[i] = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(narrow), 16));
    }
    return a;
#else
    float lanes[LANES];
    NW_UNROLL
    for (int i = 0; i < LANES; i++) lanes[i] = widen(from[i]);
    return Floats::load(lanes);
#endif
}
NW_INLINE void store(bf16* to, Floats a) {
#if defined(__AVX512F__)
    const __m512i bits = _mm512_castps_si512(a.v[0]);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 nan = _mm512_cmp_ps_mask(a.v[0], a.v[0], _CMP_UNORD_Q);
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    const __m512i high = _mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(high));
#elif defined(__AVX2__)
    NW_UNROLL
    for (int i = 0; i < 2; i++) {
        const __m256i bits = _mm256_castps_si256(a.v[i]);
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a.v[i], a.v[i], _CMP_UNORD_Q));
        const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
        const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
        const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(high, high), 0x08);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 8 * i), _mm256_castsi256_si128(packed));
    }
#else
    float lanes[LANES];
    a.store(lanes);
    NW_UNROLL
    for (int i = 0; i < LANES; i++) to[i] = narrow<bf16>(lanes[i]);
#endif
}

NW_INLINE Floats load(const f16* from) {
#if defined(__AVX512F__)
    return {{_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))}};
#elif defined(__F16C__)
    Floats a;
    NW_UNROLL
    for (int i = 0; i < 2; i++) a.v[i] = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 8 * i)));
    return a;
#else
    float lanes[LANES];
    NW_UNROLL
    for (int i = 0; i < LANES; i++) lanes[i] = widen(from[i]);
    return Floats::load(lanes);
#endif
}
NW_INLINE void store(f16* to, Floats a) {
#if defined(__AVX512F__)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(a.v[0], _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
    NW_UNROLL
    for (int i = 0; i < 2; i++)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 8 * i), _mm256_cvtps_ph(a.v[i], _MM_FROUND_TO_NEAREST_INT));
#else
    float lanes[LANES];
    a.store(lanes);
    NW_UNROLL
    for (int i = 0; i < LANES; i++) to[i] = narrow<f16>(lanes[i]);
#endif
}

// ---- whole packs and the last, short one ------------------------------------------------------------------------------

// How many lanes a step handles: all, or a number below 16.
struct Full {
    static constexpr bool whole = true;
    NW_INLINE int count() const { return LANES; }
    NW_INLINE uint32_t mask() const { return 0xffff; }
};
struct Part {
    static constexpr bool whole = false;
    int n;
    NW_INLINE int count() const { return n; }
    NW_INLINE uint32_t mask() const { return (1u << n) - 1; }
};

template <class T> NW_INLINE Pack<compute<T>> load(const T* from, Full) { return load(from); }
template <class T> NW_INLINE Pack<compute<T>> load(const T* from, Part part) {
    T lanes[LANES];
    memset(lanes, 0, sizeof lanes);
    memcpy(lanes, from, static_cast<size_t>(part.n) * sizeof(T));
    return load(lanes);
}
template <class T> NW_INLINE void store(T* to, Pack<compute<T>> a, Full) { store(to, a); }
template <class T> NW_INLINE void store(T* to, Pack<compute<T>> a, Part part) {
    T lanes[LANES];
    store(lanes, a);
    memcpy(to, lanes, static_cast<size_t>(part.n) * sizeof(T));
}
// Zero in the lanes that a step does not handle.
template <class A> NW_INLINE Pack<A> only(Pack<A> a, Full) { return a; }
template <class A> NW_INLINE Pack<A> only(Pack<A> a, Part part) { return where_set(part.mask(), a); }

// Bring a line closer that is read, or written, soon.
NW_INLINE void prefetch(const void* address) {
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(address, 0, 2);
#else
    (void)address;
#endif
}
NW_INLINE void prefetch_to_write(const void* address) {
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(address, 1, 2);
#else
    (void)address;
#endif
}

// step(i, lanes) over 0 … n in packs.
template <class F> NW_INLINE void each_pack(int64_t n, F step) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) step(i, Full{});
    if (i < n) step(i, Part{static_cast<int>(n - i)});
}

}  // namespace NW_ISA
}  // namespace nw
