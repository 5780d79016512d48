// What a call writes, and where that goes: into the caches, or past them.
#pragma once

#include <type_traits>

#include "dispatch.h"
#include "dtype.h"
#include "pages.h"

namespace nw {
namespace NW_ISA {

// A tensor that a call writes as a whole; null where it is not wanted.
//
// An ordinary store fetches its line before it changes it, and what is large leaves the caches again before anybody reads it. Past
// the caches it costs a third less of the memory's traffic, and what is read meanwhile stays. Not so where the system has just
// filled the pages with zeros: then the lines are there.
template <class T> class Output {
public:
    // Packs begin anew with each `run` of elements. `together`: bytes that are written one after another, this among them; from
    // `least` on they go past the caches.
    Output(void* to, int64_t elements, int64_t run, int64_t together, int64_t least = nw_past_caches_from)
        : to_(static_cast<T*>(to)),
          past_caches_(CAN_STREAM<T> && together > 0 && together >= least && reinterpret_cast<uintptr_t>(to) % LINE == 0 &&
                       run * SIZE % LINE == 0 && is_mapped(to, elements * SIZE)) {}

    explicit operator bool() const { return to_ != nullptr; }
    bool past_caches() const { return past_caches_; }
    template <class L> NW_INLINE void set(int64_t at, Pack<compute<T>> values, L lanes) const {
        if constexpr (CAN_STREAM<T> && std::is_same_v<L, Full>) {
            if (past_caches_) return stream(to_ + at, values);
        }
        store(to_ + at, values, lanes);
    }
    // Bring a place closer that is written soon.
    NW_INLINE void fetch(int64_t at) const {
        if (!past_caches_) prefetch_to_write(to_ + at);
    }

private:
    static constexpr int64_t SIZE = sizeof(T), LINE = 64;
    T* to_;
    bool past_caches_;
};

}  // namespace NW_ISA
}  // namespace nw
