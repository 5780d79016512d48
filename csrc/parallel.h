// Threads and scratch memory.
#pragma once

#include <cstdint>
#include <cstdlib>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "pack.h"

namespace nw {
namespace NW_ISA {

// Below this many elements a second thread costs more than it brings.
constexpr int64_t GRAIN = 32768;

// Threads for `tasks` of `elements` in all: torch's number, since both read the same setting of one OpenMP. A region of one
// thread is never entered, so that a child of fork may compute.
static inline int threads_for(int64_t tasks, int64_t elements) {
#ifdef _OPENMP
    if (elements < GRAIN || tasks < 2 || omp_in_parallel()) return 1;
    const int most = omp_get_max_threads();
    return tasks < most ? static_cast<int>(tasks) : most;
#else
    (void)tasks, (void)elements;
    return 1;
#endif
}

// task(i) for 0 … tasks, in contiguous shares. Which thread runs a task never changes what it computes. A share runs backwards
// where asked: what an earlier pass touched last is still in the cache. What tasks wrote is there for all threads afterwards.
template <class F> static inline void parallel(int64_t tasks, int64_t elements, F task, bool backwards = false) {
    const int threads = threads_for(tasks, elements);
    if (threads == 1) {
        for (int64_t i = 0; i < tasks; i++) task(backwards ? tasks - 1 - i : i);
        streamed();
        return;
    }
#ifdef _OPENMP
#pragma omp parallel num_threads(threads)
    {
        const int64_t count = omp_get_num_threads(), me = omp_get_thread_num();
        const int64_t from = tasks * me / count, to = tasks * (me + 1) / count;
        for (int64_t i = 0; i < to - from; i++) task(backwards ? to - 1 - i : from + i);
        streamed();
    }
#endif
}

// Whether a thread takes a whole problem through both of two sweeps, so that the second finds it in its cache; where there are few
// problems, their parts are dealt out.
static inline bool one_by_one(int64_t problems, int64_t parts, int64_t elements) {
    return parts == 1 || problems >= 4 * threads_for(problems * parts, elements);
}

// Two sweeps over problems of several parts: first(i) of every part, middle(problem), then last(i) of every part, backwards.
template <class First, class Middle, class Last>
static inline void two_sweeps(int64_t problems, int64_t parts, int64_t elements, First first, Middle middle, Last last) {
    if (one_by_one(problems, parts, elements)) {
        parallel(problems, elements, [&](int64_t problem) {
            for (int64_t part = 0; part < parts; part++) first(problem * parts + part);
            middle(problem);
            for (int64_t part = parts - 1; part >= 0; part--) last(problem * parts + part);
        });
        return;
    }
    parallel(problems * parts, elements, first);
    for (int64_t problem = 0; problem < problems; problem++) middle(problem);
    parallel(problems * parts, elements, last, true);
}

// Memory of the calling thread that outlives the call: a fresh large block would be mapped, page by page, at each call. Only the
// kernel that took it may hand parts of it to its threads. More than 4 MiB is given back.
class Scratch {
public:
    explicit Scratch(size_t bytes) {
        Kept& kept = mine();
        bytes = bytes ? (bytes + 63) & ~size_t{63} : 64;  // none is no failure
        if (bytes > MOST) {
            data_ = own_ = allocate(bytes);
        } else {
            if (kept.bytes < bytes) {
                free(kept.block);
                kept.block = allocate(bytes);
                kept.bytes = kept.block ? bytes : 0;
            }
            data_ = kept.block;
        }
    }
    ~Scratch() { free(own_); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    bool ok() const { return data_ != nullptr; }
    // The next n values, aligned to a cache line.
    template <class A> A* take(int64_t n) {
        A* part = reinterpret_cast<A*>(static_cast<char*>(data_) + used_);
        used_ += room<A>(n);
        return part;
    }
    template <class A> static size_t room(int64_t n) { return (static_cast<size_t>(n) * sizeof(A) + 63) & ~size_t{63}; }

private:
    static constexpr size_t MOST = size_t{4} << 20;
    struct Kept {
        void* block = nullptr;
        size_t bytes = 0;
        ~Kept() { free(block); }
    };
    static Kept& mine() {
        static thread_local Kept kept;
        return kept;
    }
    static void* allocate(size_t bytes) {
#ifdef _WIN32
        return malloc(bytes ? bytes : 64);
#else
        void* block = nullptr;
        return posix_memalign(&block, 64, bytes ? bytes : 64) == 0 ? block : nullptr;
#endif
    }
    void* data_ = nullptr;
    void* own_ = nullptr;
    size_t used_ = 0;
};

}  // namespace NW_ISA
}  // namespace nw
