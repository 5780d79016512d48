// Large pages for large outputs.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "blocks.h"
#include "pack.h"

namespace nw {
namespace NW_ISA {

// Ask the system to back memory that is about to be written as a whole by its large pages, where it gives them on request.
//
// malloc maps large blocks anew, and their first touch then costs more than the kernel that writes them: a fault for each 4 KiB.
// With pages of 2 MiB it costs about a quarter. Nothing changes where the block is in use already, or where the system does not offer it.
static inline void ask_for_large_pages(void* from, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr uintptr_t PAGE = uintptr_t{2} << 20;
    if (from == nullptr || bytes < NW_LARGE) return;
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(from) + PAGE - 1) & ~(PAGE - 1);
    const uintptr_t end = (reinterpret_cast<uintptr_t>(from) + static_cast<uintptr_t>(bytes)) & ~(PAGE - 1);
    if (begin < end) (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
    (void)from, (void)bytes;
#endif
}

// Whether the system has given memory to a block already. What it gives anew it has just filled with zeros, which are still in the
// caches; false where it does not tell.
static inline bool is_mapped(void* from, int64_t bytes) {
#ifdef __linux__
    constexpr uintptr_t PAGE = 4096;  // none is smaller; an address at one of larger pages is refused, unless it begins one
    const uintptr_t middle = (reinterpret_cast<uintptr_t>(from) + static_cast<uintptr_t>(bytes) / 2) & ~(PAGE - 1);
    unsigned char is_there = 0;
    return mincore(reinterpret_cast<void*>(middle), 1, &is_there) == 0 && (is_there & 1);
#else
    (void)from, (void)bytes;
    return false;
#endif
}

}  // namespace NW_ISA
}  // namespace nw
