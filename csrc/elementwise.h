// Dropout, penalties and proximal steps: one pass over memory.
#pragma once

#include <numeric>

#include "abi.h"
#include "output.h"
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
    const int64_t elements = call->models * call->elements, bytes = call->y == call->x ? 0 : elements * static_cast<int64_t>(sizeof(T));
    const Output<T> y(call->y, elements, call->models > 1 ? std::gcd(call->elements, BLOCK) : BLOCK, bytes);
    each_blocks(call, [&](int64_t model, int64_t from, int64_t to) {
        const T* x = static_cast<const T*>(call->x) + model * call->elements;
        const int64_t own = model * call->elements;
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
                y.set(own + at + i, load(x + at + i, lanes) * where_set(kept, scale), lanes);
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

// |x| and x² summed, in parts of fixed size merged in order, and on the way y = l1 · sign(x) + l2 · x, unless y is null; a NaN stays.
template <class T> static int32_t penalty(const nw_penalty* call) {
    typedef compute<T> A;
    const T* x = static_cast<const T*>(call->x);
    const Output<T> y(call->y, call->elements, PENALTY_PART, call->y ? call->together : 0);
    const Pack<A> up = Pack<A>::of(static_cast<A>(call->l1)), down = Pack<A>::zero() - up, slope = Pack<A>::of(static_cast<A>(call->l2));
    const bool sign = call->l1 != 0;
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
            if (!y) return;
            const Pack<A> zero = Pack<A>::zero(), straight = value * slope;
            y.set(from + i, sign ? straight + where_negative(value, down, where_negative(zero - value, up, zero)) : straight, lanes);
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

// x ← sign(x) · max(|x| − l1, 0) / (1 + l2), in place; a NaN stays.
template <class T> static int32_t proximal(const nw_penalty* call) {
    typedef compute<T> A;
    T* y = static_cast<T*>(call->y);
    const Pack<A> least = Pack<A>::of(static_cast<A>(call->l1)), shrink = Pack<A>::of(static_cast<A>(1.0 / (1.0 + call->l2)));
    parallel((call->elements + PENALTY_PART - 1) / PENALTY_PART, call->elements, [&](int64_t part) {
        const int64_t from = part * PENALTY_PART, left = call->elements - from;
        each_pack(left < PENALTY_PART ? left : PENALTY_PART, [&](int64_t i, auto lanes) NW_INLINED {
            const Pack<A> value = load(y + from + i, lanes), zero = Pack<A>::zero();
            const Pack<A> size = at_least(absolute(value) - least, zero) * shrink;
            store(y + from + i, where_negative(value, zero - size, size), lanes);
        });
    });
    return 0;
}

}  // namespace NW_ISA
}  // namespace nw
