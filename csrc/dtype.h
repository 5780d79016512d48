// The dtypes of tensors, and their way in and out of packs: whole ones, and the last, short one of a row.
#pragma once

#include "pack.h"

namespace nw {
namespace NW_ISA {

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

// ---- whole packs ------------------------------------------------------------------------------------------------------

NW_INLINE Floats load(const float* from) { return Floats::load(from); }
NW_INLINE Doubles load(const double* from) { return Doubles::load(from); }
NW_INLINE void store(float* to, Floats a) { a.store(to); }
NW_INLINE void store(double* to, Doubles a) { a.store(to); }

#if defined(__AVX512F__)
NW_INLINE Floats widen(__m256i bits, bf16) { return {{_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))}}; }
NW_INLINE Floats widen(__m256i bits, f16) { return {{_mm512_cvtph_ps(bits)}}; }
NW_INLINE __m256i narrow(Floats a, bf16) {
    const __m512i bits = _mm512_castps_si512(a.v[0]);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 nan = _mm512_cmp_ps_mask(a.v[0], a.v[0], _CMP_UNORD_Q);
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16));
}
NW_INLINE __m256i narrow(Floats a, f16) { return _mm512_cvtps_ph(a.v[0], _MM_FROUND_TO_NEAREST_INT); }

template <class T> NW_INLINE Floats load(const T* from) { return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)), T{}); }
template <class T> NW_INLINE void store(T* to, Floats a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), narrow(a, T{})); }

#elif defined(__AVX2__)
NW_INLINE Floats load(const bf16* from) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return {{_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16))}};
}
NW_INLINE void store(bf16* to, Floats a) {
    const __m256i bits = _mm256_castps_si256(a.v[0]);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a.v[0], a.v[0], _CMP_UNORD_Q));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(high, high), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(packed));
}
NW_INLINE Floats load(const f16* from) { return {{_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)))}}; }
NW_INLINE void store(f16* to, Floats a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(a.v[0], _MM_FROUND_TO_NEAREST_INT));
}

#else
template <class T> NW_INLINE Floats load(const T* from) {
    float lanes[LANES];
    NW_UNROLL
    for (int i = 0; i < LANES; i++) lanes[i] = widen(from[i]);
    return Floats::load(lanes);
}
template <class T> NW_INLINE void store(T* to, Floats a) {
    float lanes[LANES];
    a.store(lanes);
    NW_UNROLL
    for (int i = 0; i < LANES; i++) to[i] = narrow<T>(lanes[i]);
}
#if defined(NW_X86)
NW_INLINE Floats load(const bf16* from) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)), zero = _mm_setzero_si128();
    return {{_mm_castsi128_ps(_mm_unpacklo_epi16(zero, bits)), _mm_castsi128_ps(_mm_unpackhi_epi16(zero, bits))}};
}
NW_INLINE void store(bf16* to, Floats a) {
    __m128i high[2];
    NW_UNROLL
    for (int i = 0; i < 2; i++) {
        const __m128i bits = _mm_castps_si128(a.v[i]);
        const __m128i odd = _mm_and_si128(_mm_srli_epi32(bits, 16), _mm_set1_epi32(1));
        const __m128i rounded = _mm_add_epi32(bits, _mm_add_epi32(odd, _mm_set1_epi32(0x7fff)));
        const __m128i nan = _mm_castps_si128(_mm_cmpunord_ps(a.v[i], a.v[i]));
        const __m128i quiet = _mm_or_si128(bits, _mm_set1_epi32(0x400000));
        // Shifted with the sign, so that the saturating pack keeps the bits.
        high[i] = _mm_srai_epi32(_mm_or_si128(_mm_and_si128(nan, quiet), _mm_andnot_si128(nan, rounded)), 16);
    }
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_packs_epi32(high[0], high[1]));
}
#endif
#endif

// ---- the last, short pack of a row ------------------------------------------------------------------------------------

template <class T> NW_INLINE Pack<compute<T>> load(const T* from, Full) { return load(from); }
template <class T> NW_INLINE void store(T* to, Pack<compute<T>> a, Full) { store(to, a); }

// A whole pack past the caches, to where a pack is aligned. `streamed()` follows the last one, before another thread reads.
template <class T> constexpr bool CAN_STREAM = false;
#if defined(NW_X86)
template <> constexpr bool CAN_STREAM<float> = true;
template <> constexpr bool CAN_STREAM<double> = true;
NW_INLINE void stream(float* to, Floats a) {
    NW_UNROLL
    for (int i = 0; i < Floats::COUNT; i++) {
#if defined(__AVX512F__)
        _mm512_stream_ps(to + i * Floats::WIDTH, a.v[i]);
#elif defined(__AVX2__)
        _mm256_stream_ps(to + i * Floats::WIDTH, a.v[i]);
#else
        _mm_stream_ps(to + i * Floats::WIDTH, a.v[i]);
#endif
    }
}
NW_INLINE void stream(double* to, Doubles a) {
    NW_UNROLL
    for (int i = 0; i < Doubles::COUNT; i++) {
#if defined(__AVX512F__)
        _mm512_stream_pd(to + i * Doubles::WIDTH, a.v[i]);
#elif defined(__AVX2__)
        _mm256_stream_pd(to + i * Doubles::WIDTH, a.v[i]);
#else
        _mm_stream_pd(to + i * Doubles::WIDTH, a.v[i]);
#endif
    }
}
#endif

// n values below 16, in pieces of a constant size: a copy of a variable one calls the C library.
template <class T> NW_INLINE void copy_few(T* to, const T* from, int n) {
    if (LANES > 8 && n & 8) memcpy(to, from, 8 * sizeof(T)), to += 8, from += 8;
    if (n & 4) memcpy(to, from, 4 * sizeof(T)), to += 4, from += 4;
    if (n & 2) memcpy(to, from, 2 * sizeof(T)), to += 2, from += 2;
    if (n & 1) memcpy(to, from, sizeof(T));
}
template <class T> NW_INLINE Pack<compute<T>> load(const T* from, Part part) {
    T lanes[LANES];
    memset(lanes, 0, sizeof lanes);
    copy_few(lanes, from, part.n);
    return load(lanes);
}
template <class T> NW_INLINE void store(T* to, Pack<compute<T>> a, Part part) {
    T lanes[LANES];
    store(lanes, a);
    copy_few(to, lanes, part.n);
}

#if defined(__AVX512F__)
NW_INLINE Floats load(const float* from, Part part) { return {{_mm512_maskz_loadu_ps(static_cast<__mmask16>(part.mask()), from)}}; }
NW_INLINE void store(float* to, Floats a, Part part) { _mm512_mask_storeu_ps(to, static_cast<__mmask16>(part.mask()), a.v[0]); }
NW_INLINE Doubles load(const double* from, Part part) {
    const __mmask8 low = static_cast<__mmask8>(part.mask()), high = static_cast<__mmask8>(part.mask() >> 8);
    return {{_mm512_maskz_loadu_pd(low, from), _mm512_maskz_loadu_pd(high, from + 8)}};
}
NW_INLINE void store(double* to, Doubles a, Part part) {
    _mm512_mask_storeu_pd(to, static_cast<__mmask8>(part.mask()), a.v[0]);
    _mm512_mask_storeu_pd(to + 8, static_cast<__mmask8>(part.mask() >> 8), a.v[1]);
}
template <class T> NW_INLINE Floats load_short(const T* from, Part part) {
    return widen(_mm256_maskz_loadu_epi16(static_cast<__mmask16>(part.mask()), from), T{});
}
template <class T> NW_INLINE void store_short(T* to, Floats a, Part part) {
    _mm256_mask_storeu_epi16(to, static_cast<__mmask16>(part.mask()), narrow(a, T{}));
}
NW_INLINE Floats load(const bf16* from, Part part) { return load_short(from, part); }
NW_INLINE Floats load(const f16* from, Part part) { return load_short(from, part); }
NW_INLINE void store(bf16* to, Floats a, Part part) { store_short(to, a, part); }
NW_INLINE void store(f16* to, Floats a, Part part) { store_short(to, a, part); }
#elif defined(__AVX2__)
NW_INLINE __m256i chosen(Part part) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(part.n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
NW_INLINE Floats load(const float* from, Part part) { return {{_mm256_maskload_ps(from, chosen(part))}}; }
NW_INLINE void store(float* to, Floats a, Part part) { _mm256_maskstore_ps(to, chosen(part), a.v[0]); }
#endif

// ---- doubles from and to any dtype: of a pack's lanes, or one ---------------------------------------------------------

struct One {};
template <class L> struct doubles_of { typedef Doubles type; };
template <> struct doubles_of<One> { typedef double type; };
// A double for each lane of L.
template <class L> using doubles = typename doubles_of<L>::type;

template <class L> NW_INLINE doubles<L> all(double value, L) { return Doubles::of(value); }
NW_INLINE double all(double value, One) { return value; }
template <class T, class L> NW_INLINE Doubles load_double(const T* from, L lanes) { return to_double(load(from, lanes)); }
template <class T> NW_INLINE double load_double(const T* from, One) { return static_cast<double>(widen(*from)); }
template <class T, class L> NW_INLINE void store_double(T* to, Doubles a, L lanes) { store(to, from_double<compute<T>>(a), lanes); }
template <class T> NW_INLINE void store_double(T* to, double a, One) { *to = narrow<T>(static_cast<compute<T>>(a)); }

}  // namespace NW_ISA
}  // namespace nw
