// What happens to a normalized value on its way out, and to a gradient on its way in: residual, activation, dropout.
#pragma once

#include "abi.h"
#include "activation.h"
#include "output.h"
#include "statistics.h"

namespace nw {
namespace NW_ISA {

// A pack's bits, and what follows them, from any bit of a buffer that reaches at least four bytes further.
NW_INLINE uint32_t bits_at(const uint8_t* bits, int64_t index) {
    uint32_t word;
    memcpy(&word, bits + (index >> 3), 4);
    return word >> (index & 7);
}

// Bytes of a model's keep bits.
NW_INLINE int64_t keep_bytes(int64_t elements) { return (elements + 127) / 128 * 16; }

// So many elements ahead tensors are fetched where memory is gone through in order: the machine itself looks no further than to the
// end of a page, and among the reads of what belongs to columns it sees too late what comes next.
constexpr int64_t AHEAD = 1024;

// A gate holds one bit for each lane of a pack.
template <bool wide> struct gate_word { typedef uint16_t type; };
template <> struct gate_word<false> { typedef uint8_t type; };
typedef gate_word<(LANES > 8)>::type GateWord;

// Words of a row's gate; rows are padded to 16 bits.
NW_INLINE int64_t gate_words(int64_t length) { return (length + 15) / 16 * (16 / LANES); }

// An output of the input's size, whose packs begin anew with each `run`. What is written over dy is in the cache anyway.
template <class T>
static inline Output<T> output_of(void* to, const nw_norm* call, int64_t run, int64_t least = nw_past_caches_from) {
    const int64_t elements = call->models * call->samples * call->channels * call->positions;
    const bool fresh = to != nullptr && to != call->dy;
    return Output<T>(to, elements, run, fresh ? elements * static_cast<int64_t>(sizeof(T)) : 0, least);
}

// The tensors of one call, typed. Loops take it, like an output, by value: what other functions may see is read anew after every
// store. `at` counts elements of the whole tensor, `inside` those of the model, in memory order;
// `word` is the place of the pack in the gate.
template <class T, Kind kind> struct Finish {
    typedef compute<T> A;
    const T* residual;
    const T* dy;
    Output<T> y, dresidual;
    GateWord* gate;
    A keep_scale;
    int32_t activation;

    Finish(const nw_norm* call, int64_t run)
        : residual(static_cast<const T*>(call->residual)), dy(static_cast<const T*>(call->dy)), y(output_of<T>(call->y, call, run)),
          dresidual(output_of<T>(call->dresidual, call, run)), gate(reinterpret_cast<GateWord*>(call->gate)), keep_scale(static_cast<A>(call->keep_scale)),
          activation(call->activation) {}

    template <class L> NW_INLINE void forward(Pack<A> z, int64_t at, int64_t inside, int64_t word, const uint8_t* keep, L lanes) const {
        if (residual) z = z + load(residual + at, lanes);
        Pack<A> out = activate<kind>(z, activation);
        uint32_t kept = ~0u;
        if (keep) {
            kept = bits_at(keep, inside);
            out = out * where_set(kept, Pack<A>::of(keep_scale));
        }
        if (gate) gate[word] = static_cast<GateWord>(kept & above_zero(z));
        y.set(at, out, lanes);
    }

    // The gradient with respect to z, from the incoming one; zero in the lanes that the step does not handle.
    template <class L> NW_INLINE Pack<A> backward(Pack<A> z, int64_t at, int64_t inside, int64_t word, const uint8_t* keep, L lanes) const {
        Pack<A> dz = load(dy + at, lanes);
        if (gate) {
            dz = where_set(gate[word], dz * Pack<A>::of(keep_scale));
        } else {
            if (keep) dz = dz * where_set(bits_at(keep, inside), Pack<A>::of(keep_scale));
            if constexpr (kind != PLAIN) {
                if (residual) z = z + load(residual + at, lanes);
                dz = carry_back<kind>(z, dz, activation);
            }
        }
        return only(dz, lanes);
    }
};

}  // namespace NW_ISA
}  // namespace nw
