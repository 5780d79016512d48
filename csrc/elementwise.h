// Dropout, penalties and proximal steps: one pass over memory.
#pragma once

#include "abi.h"
#include "finish.h"
#include "parallel.h"
#include "philox.h"

namespace nw {
namespace NW_ISA {

constexpr int64_t TASK_BLOCKS = 64;  // blocks of 128 elements that one task takes

// task(model, first block, end) over all models.
template <class F> static inline void each_blocks(const nw_dropout* call, F task) {
    const int64_t blocks = (call->elements + BLOCK - 1) / BLOCK, tasks = (blocks + TASK_BLOCKS - 1) / TASK_BLOCKS;
    if (tasks == 0) return;
    parallel(call->models * tasks, call->models * call->elements, [&](int64_t i) {
        const int64_t from = i % tasks * TASK_BLOCKS;
        task(i / tasks, from, from + TASK_BLOCKS < blocks ? from + TASK_BLOCKS : blocks);
    });
}

static inline int32_t keep_bits(const nw_dropout* call) {
    const int64_t stride = keep_bytes(call->elements);
    each_blocks(call, [&](int64_t model, int64_t from, int64_t to) {
        for (int64_t block = from; block < to; block++) {
            uint32_t words[4];
            keep_block(call->seeds[model], call->offset, static_cast<uint64_t>(block), call->threshold, words);
            memcpy(call->keep + model * stride + block * 16, words, 16);
        }
    });
    return 0;
}

template <class T> static int32_t dropout(const nw_dropout* call) {
    typedef compute<T> A;
    const Pack<A> scale = Pack<A>::of(static_cast<A>(call->keep_scale));
    each_blocks(call, [&](int64_t model, int64_t from, int64_t to) {
        const T* x = static_cast<const T*>(call->x) + model * call->elements;
        T* y = static_cast<T*>(call->y) + model * call->elements;
        for (int64_t block = from; block < to; block++) {
            const int64_t at = block * BLOCK;
#if defined(__GNUC__) || defined(__clang__)
            // Philox keeps the machine busy for longer than it looks ahead by itself.
            for (int64_t i = 0; i < BLOCK; i += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(x + at + 4 * BLOCK + i);
#endif
            uint32_t words[4];
            keep_block(call->seeds[model], call->offset, static_cast<uint64_t>(block), call->threshold, words);
            const auto step = [&](int64_t i, auto lanes) NW_INLINED {
                const uint32_t kept = words[i / 32] >> (i % 32);
                store(y + at + i, load(x + at + i, lanes) * where_set(kept, scale), lanes);
            };
            if (at + BLOCK <= call->elements) {
                for (int64_t i = 0; i < BLOCK; i += LANES) step(i, Full{});
            } else {
                each_pack(call->elements - at, step);
            }
        }
    });
    return 0;
}

constexpr int64_t PENALTY_PART = 16384;

// |x| and x² summed, in parts of fixed size merged in order.
template <class T> static int32_t penalty_sums(const nw_penalty* call) {
    typedef compute<T> A;
    const T* x = static_cast<const T*>(call->x);
    const int64_t parts = (call->elements + PENALTY_PART - 1) / PENALTY_PART;
    Scratch scratch(2 * Scratch::room<double>(parts));
    if (!scratch.ok()) return 1;
    double *sizes = scratch.take<double>(parts), *squares = scratch.take<double>(parts);
    parallel(parts, call->elements, [&](int64_t part) {
        const int64_t from = part * PENALTY_PART, left = call->elements - from;
        TwoSums<A> sums;
        each_slot(sums, left < PENALTY_PART ? left : PENALTY_PART, [&](int64_t i, int slot, auto lanes) NW_INLINED {
            const Pack<A> value = load(x + from + i, lanes);
            sums.add(slot, absolute(value), value * value);
        });
        sums.flush();
        sizes[part] = sums.first();
        squares[part] = sums.second();
    });
    call->sums[0] = call->sums[1] = 0;
    for (int64_t part = 0; part < parts; part++) {
        call->sums[0] += sizes[part];
        call->sums[1] += squares[part];
    }
    return 0;
}

// step(from, count) over parts of the elements, the last ones first: the sums before have left them in the cache.
template <class F> static inline void each_part(const nw_penalty* call, F step) {
    const auto task = [&](int64_t part) {
        const int64_t from = part * PENALTY_PART, left = call->elements - from;
        step(from, left < PENALTY_PART ? left : PENALTY_PART);
    };
    parallel((call->elements + PENALTY_PART - 1) / PENALTY_PART, call->elements, task, true);
}

// y = l1 · sign(x) + l2 · x; a NaN stays.
template <class T> static int32_t penalty_gradient(const nw_penalty* call) {
    typedef compute<T> A;
    const T* x = static_cast<const T*>(call->x);
    T* y = static_cast<T*>(call->y);
    const Pack<A> up = Pack<A>::of(static_cast<A>(call->l1)), down = Pack<A>::zero() - up, slope = Pack<A>::of(static_cast<A>(call->l2));
    const bool sign = call->l1 != 0;
    const auto slope_at = [&](int64_t at, auto lanes) NW_INLINED {
        const Pack<A> value = load(x + at, lanes), zero = Pack<A>::zero();
        const Pack<A> out = value * slope;
        return sign ? out + where_negative(value, down, where_negative(zero - value, up, zero)) : out;
    };
    const bool past_caches = call->past_caches && reinterpret_cast<uintptr_t>(y) % 64 == 0;
    each_part(call, [&](int64_t from, int64_t count) {
        if (past_caches && count == PENALTY_PART) {
            for (int64_t i = 0; i < PENALTY_PART; i += LANES) stream(y + from + i, slope_at(from + i, Full{}));
            streamed();
            return;
        }
        each_pack(count, [&](int64_t i, auto lanes) NW_INLINED { store(y + from + i, slope_at(from + i, lanes), lanes); });
    });
    return 0;
}

// x ← sign(x) · max(|x| − l1, 0) / (1 + l2), in place; a NaN stays.
template <class T> static int32_t proximal(const nw_penalty* call) {
    typedef compute<T> A;
    T* y = static_cast<T*>(call->y);
    const Pack<A> least = Pack<A>::of(static_cast<A>(call->l1)), shrink = Pack<A>::of(static_cast<A>(1.0 / (1.0 + call->l2)));
    each_part(call, [&](int64_t from, int64_t count) {
        each_pack(count, [&](int64_t i, auto lanes) NW_INLINED {
            const Pack<A> value = load(y + from + i, lanes), zero = Pack<A>::zero();
            const Pack<A> size = at_least(absolute(value) - least, zero) * shrink;
            store(y + from + i, where_negative(value, zero - size, size), lanes);
        });
    });
    return 0;
}

}  // namespace NW_ISA
}  // namespace nw
