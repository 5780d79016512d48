// Which elements dropout keeps: Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011), 16 random bits an element.
//
// Elements are numbered in memory order. Element i belongs to block i / 128; word w = (i / 32) % 4 of the four that Philox
// gives for the counter 16 · block + (i % 32) / 2 under the key `seed` holds its 16 bits in its half i % 2. So a mask depends on
// (seed, offset, i) alone, and 32 neighbours fall out of one comparison of a vector of words.
#pragma once

#include "pack.h"

namespace nw {
namespace NW_ISA {

constexpr int64_t BLOCK = 128;

#if defined(__AVX512F__)
typedef __m512i Wide;
NW_INLINE Wide wide(uint64_t x) { return _mm512_set1_epi64(static_cast<long long>(x)); }
NW_INLINE Wide multiply(Wide a, Wide b) { return _mm512_mul_epu32(a, b); }
NW_INLINE Wide high(Wide a) { return _mm512_srli_epi64(a, 32); }
NW_INLINE Wide xor3(Wide a, Wide b, Wide c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
NW_INLINE Wide add(Wide a, Wide b) { return _mm512_add_epi64(a, b); }
NW_INLINE Wide ramp(int64_t from) {
    return _mm512_add_epi64(wide(static_cast<uint64_t>(from)), _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14));
}
// 32 keep bits of 16 words: the even ones in the low halves of `even`, the odd ones in those of `odd`.
NW_INLINE uint32_t compare(Wide even, Wide odd, uint32_t threshold) {
    const Wide words = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
    return _mm512_cmpge_epu16_mask(words, _mm512_set1_epi16(static_cast<short>(threshold)));
}
#elif defined(__AVX2__)
typedef __m256i Wide;
NW_INLINE Wide wide(uint64_t x) { return _mm256_set1_epi64x(static_cast<long long>(x)); }
NW_INLINE Wide multiply(Wide a, Wide b) { return _mm256_mul_epu32(a, b); }
NW_INLINE Wide high(Wide a) { return _mm256_srli_epi64(a, 32); }
NW_INLINE Wide xor3(Wide a, Wide b, Wide c) { return _mm256_xor_si256(_mm256_xor_si256(a, b), c); }
NW_INLINE Wide add(Wide a, Wide b) { return _mm256_add_epi64(a, b); }
NW_INLINE Wide ramp(int64_t from) {
    return _mm256_add_epi64(wide(static_cast<uint64_t>(from)), _mm256_setr_epi64x(0, 2, 4, 6));
}
NW_INLINE uint32_t compare(Wide even, Wide odd, uint32_t threshold) {
    const Wide words = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
    const Wide least = _mm256_set1_epi16(static_cast<short>(threshold));
    const Wide kept = _mm256_cmpeq_epi16(_mm256_max_epu16(words, least), words);
    const Wide bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(kept, kept), 0x08);
    return static_cast<uint32_t>(_mm256_movemask_epi8(bytes)) & 0xffff;
}
#elif defined(NW_X86)
typedef __m128i Wide;
NW_INLINE Wide wide(uint64_t x) { return _mm_set1_epi64x(static_cast<long long>(x)); }
NW_INLINE Wide multiply(Wide a, Wide b) { return _mm_mul_epu32(a, b); }
NW_INLINE Wide high(Wide a) { return _mm_srli_epi64(a, 32); }
NW_INLINE Wide xor3(Wide a, Wide b, Wide c) { return _mm_xor_si128(_mm_xor_si128(a, b), c); }
NW_INLINE Wide add(Wide a, Wide b) { return _mm_add_epi64(a, b); }
NW_INLINE Wide ramp(int64_t from) {
    return _mm_add_epi64(wide(static_cast<uint64_t>(from)), _mm_set_epi64x(2, 0));
}
NW_INLINE uint32_t compare(Wide even, Wide odd, uint32_t threshold) {
    const Wide low = _mm_and_si128(even, _mm_set1_epi64x(0xffffffff));
    const Wide words = _mm_or_si128(low, _mm_slli_epi64(odd, 32));
    const Wide below = _mm_subs_epu16(_mm_set1_epi16(static_cast<short>(threshold)), words);
    const Wide kept = _mm_cmpeq_epi16(below, _mm_setzero_si128());
    return static_cast<uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(kept, kept))) & 0xff;
}
#else
typedef uint64_t Wide;
NW_INLINE Wide wide(uint64_t x) { return x; }
NW_INLINE Wide multiply(Wide a, Wide b) { return (a & 0xffffffff) * (b & 0xffffffff); }
NW_INLINE Wide high(Wide a) { return a >> 32; }
NW_INLINE Wide xor3(Wide a, Wide b, Wide c) { return a ^ b ^ c; }
NW_INLINE Wide add(Wide a, Wide b) { return a + b; }
NW_INLINE Wide ramp(int64_t from) { return static_cast<uint64_t>(from); }
NW_INLINE uint32_t compare(Wide even, Wide odd, uint32_t threshold) {
    const uint32_t words[2] = {static_cast<uint32_t>(even), static_cast<uint32_t>(odd)};
    uint32_t bits = 0;
    NW_UNROLL
    for (int i = 0; i < 4; i++) {
        const uint32_t value = (words[i / 2] >> (16 * (i % 2))) & 0xffff;
        bits |= static_cast<uint32_t>(value >= threshold) << i;
    }
    return bits;
}
#endif

// One of Philox's states for several counters at once; only the low half of each 64-bit lane counts.
struct Lanes {
    Wide c0, c1, c2, c3;
};

// Keep bits of one block of 128 elements: four words of 32 bits. A threshold is at most 65535.
NW_INLINE void keep_block(uint64_t seed, uint64_t offset, uint64_t block, uint32_t threshold, uint32_t* words) {
    constexpr int HALF = sizeof(Wide) / 8;  // counters in one Wide
    constexpr int GROUPS = 16 / (2 * HALF);
    const uint64_t counter = 16 * block;
    words[0] = words[1] = words[2] = words[3] = 0;
    Lanes lanes[GROUPS][2];
    NW_UNROLL
    for (int g = 0; g < GROUPS; g++) {
        NW_UNROLL
        for (int odd = 0; odd < 2; odd++) {
            // 16 counters never cross 2^32, so that the low word's ramp carries nothing into the high one.
            lanes[g][odd] = {ramp(static_cast<int64_t>((counter & 0xffffffff) + static_cast<uint64_t>(2 * HALF * g + odd))),
                             wide(counter >> 32), wide(offset & 0xffffffff), wide(offset >> 32)};
        }
    }
    uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
    const Wide m0 = wide(0xD2511F53u), m1 = wide(0xCD9E8D57u);
    NW_UNROLL
    for (int round = 0; round < 10; round++) {
        const Wide key0 = wide(k0), key1 = wide(k1);
        NW_UNROLL
        for (int g = 0; g < GROUPS; g++) {
            NW_UNROLL
            for (int odd = 0; odd < 2; odd++) {
                Lanes& s = lanes[g][odd];
                const Wide p0 = multiply(s.c0, m0), p1 = multiply(s.c2, m1);
                s = {xor3(high(p1), s.c1, key0), p1, xor3(high(p0), s.c3, key1), p0};
            }
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    NW_UNROLL
    for (int g = 0; g < GROUPS; g++) {
        const Lanes &even = lanes[g][0], &odd = lanes[g][1];
        constexpr int BITS = 4 * HALF;
        words[0] |= compare(even.c0, odd.c0, threshold) << (BITS * g % 32);
        words[1] |= compare(even.c1, odd.c1, threshold) << (BITS * g % 32);
        words[2] |= compare(even.c2, odd.c2, threshold) << (BITS * g % 32);
        words[3] |= compare(even.c3, odd.c3, threshold) << (BITS * g % 32);
    }
}

}  // namespace NW_ISA
}  // namespace nw
