#include "dispatch.h"

#include <cstring>

#if defined(__x86_64__) || defined(_M_X64)
#define NW_X86_64 1
#endif

extern "C" const nw_table* nw_table_baseline();
#ifdef NW_X86_64
extern "C" const nw_table* nw_table_avx2();
extern "C" const nw_table* nw_table_avx512();
#ifdef _MSC_VER
#include <immintrin.h>
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

// What a call of such an output reads and writes fills a last cache of 32 MiB.
int64_t nw_past_caches_from = int64_t{16} << 20;

namespace {

#if defined(NW_X86_64) && !defined(_MSC_VER)
bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
           __builtin_cpu_supports("bmi2");
}
bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#elif defined(NW_X86_64)
// Bits of CPUID leaves 1 and 7, and what the operating system saves.
bool has_avx2() {
    int one[4], seven[4];
    __cpuid(one, 1);
    __cpuidex(seven, 7, 0);
    constexpr int FMA = 1 << 12, OSXSAVE = 1 << 27, F16C = 1 << 29, AVX2 = 1 << 5, BMI2 = 1 << 8;
    if ((one[2] & (FMA | OSXSAVE | F16C)) != (FMA | OSXSAVE | F16C)) return false;
    return (seven[1] & (AVX2 | BMI2)) == (AVX2 | BMI2) && (_xgetbv(0) & 0x6) == 0x6;
}
bool has_avx512() {
    int seven[4];
    __cpuidex(seven, 7, 0);
    const unsigned wanted = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
    return has_avx2() && (static_cast<unsigned>(seven[1]) & wanted) == wanted && (_xgetbv(0) & 0xe6) == 0xe6;
}
#endif

#ifdef NW_X86_64
// What CPUID says in a leaf: EAX, EBX, ECX, EDX.
void cpuid(unsigned leaf, unsigned (&says)[4]) {
#ifdef _MSC_VER
    int found[4];
    __cpuid(found, static_cast<int>(leaf));
    for (int i = 0; i < 4; i++) says[i] = static_cast<unsigned>(found[i]);
#else
    __cpuid(leaf, says[0], says[1], says[2], says[3]);
#endif
}
#endif

}  // namespace

int nw_amd_family() {
#ifdef NW_X86_64
    unsigned says[4];
    cpuid(0, says);
    const unsigned name[3] = {says[1], says[3], says[2]};
    if (std::memcmp(name, "AuthenticAMD", sizeof(name)) != 0) return 0;
    cpuid(1, says);
    const unsigned base = says[0] >> 8 & 0xf, extended = says[0] >> 20 & 0xff;
    return static_cast<int>(base == 0xf ? base + extended : base);
#else
    return 0;
#endif
}

const nw_table* nw_kernels(const char* isa) {
#ifdef NW_X86_64
    const auto asked = [&](const char* name) { return isa == nullptr || std::strcmp(isa, name) == 0; };
    if (asked("avx512") && has_avx512()) return nw_table_avx512();
    if (asked("avx2") && has_avx2()) return nw_table_avx2();
    return asked("baseline") ? nw_table_baseline() : nullptr;
#else
    return isa == nullptr || std::strcmp(isa, "baseline") == 0 ? nw_table_baseline() : nullptr;
#endif
}
