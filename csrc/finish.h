// What happens to a normalized value on its way out, and to a gradient on its way in: residual, activation, dropout.
#pragma once

#include "abi.h"
#include "activation.h"
#include "moments.h"
#include "pack.h"

namespace nw {
namespace NW_ISA {

// 16 bits from any bit of a buffer that reaches at least four bytes further.
NW_INLINE uint32_t bits_at(const uint8_t* bits, int64_t index) {
    uint32_t word;
    memcpy(&word, bits + (index >> 3), 4);
    return (word >> (index & 7)) & 0xffff;
}

// Bytes of a model's keep bits.
NW_INLINE int64_t keep_bytes(int64_t elements) { return (elements + 127) / 128 * 16; }

// Sixteen-bit words of a row's gate.
NW_INLINE int64_t gate_words(int64_t length) { return (length + LANES - 1) / LANES; }

// The tensors of one call, typed. `at` counts elements of the whole tensor, `inside` those of the model, in memory order;
// `word` is the place of the sixteen elements in the gate.
template <class T, Kind kind> struct Finish {
    typedef compute<T> A;
    const T* residual;
    const T* dy;
    T* y;
    T* dresidual;
    uint16_t* gate;
    A keep_scale;
    int32_t activation;

    explicit Finish(const nw_norm* call)
        : residual(static_cast<const T*>(call->residual)), dy(static_cast<const T*>(call->dy)), y(static_cast<T*>(call->y)),
          dresidual(static_cast<T*>(call->dresidual)), gate(call->gate), keep_scale(static_cast<A>(call->keep_scale)),
          activation(call->activation) {}

    template <class L> NW_INLINE void forward(Pack<A> z, int64_t at, int64_t inside, int64_t word, const uint8_t* keep, L lanes) const {
        if (residual) z = z + load(residual + at, lanes);
        Pack<A> out = activate<kind>(z, activation);
        uint32_t kept = 0xffff;
        if (keep) {
            kept = bits_at(keep, inside);
            out = out * where_set(kept, Pack<A>::of(keep_scale));
        }
        if (gate) gate[word] = static_cast<uint16_t>(kept & above_zero(z));
        store(y + at, out, lanes);
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

// Parameters of any dtype, read and written one at a time.
NW_INLINE double parameter(const void* values, int32_t dtype, int64_t i, double absent) {
    if (values == nullptr) return absent;
    switch (dtype) {
        case NW_F32: return static_cast<const float*>(values)[i];
        case NW_F64: return static_cast<const double*>(values)[i];
        case NW_BF16: return widen(static_cast<const bf16*>(values)[i]);
        default: return widen(static_cast<const f16*>(values)[i]);
    }
}
NW_INLINE void set_parameter(void* values, int32_t dtype, int64_t i, double value) {
    if (values == nullptr) return;
    switch (dtype) {
        case NW_F32: static_cast<float*>(values)[i] = static_cast<float>(value); break;
        case NW_F64: static_cast<double*>(values)[i] = value; break;
        case NW_BF16: static_cast<bf16*>(values)[i] = narrow<bf16>(static_cast<float>(value)); break;
        default: static_cast<f16*>(values)[i] = narrow<f16>(static_cast<float>(value)); break;
    }
}

// What the forward pass leaves for the backward one: per statistic the mean in two parts and 1/sqrt(var + eps), per channel weight
// and bias. They are copies: nobody's in-place step between the passes changes them.
template <class A> struct Saved {
    A *high, *low, *rstd, *weight, *bias;
    Saved(void* memory, int64_t statistics, int64_t channels) {
        high = static_cast<A*>(memory);
        low = high + statistics;
        rstd = low + statistics;
        weight = rstd + statistics;
        bias = weight + channels;
    }
    NW_INLINE void set(int64_t i, double mean, double variance, double eps) const {
        high[i] = static_cast<A>(mean);
        low[i] = static_cast<A>(mean - static_cast<double>(high[i]));
        rstd[i] = static_cast<A>(1.0 / std::sqrt(variance + eps));
    }
    NW_INLINE void set_affine(const nw_norm* call, int64_t channels) const {
        for (int64_t c = 0; c < channels; c++) {
            weight[c] = static_cast<A>(parameter(call->weight, call->parameter_dtype, c, 1));
            bias[c] = static_cast<A>(parameter(call->bias, call->parameter_dtype, c, 0));
        }
    }
};

// The biased variance, or the mean square where nothing is subtracted.
NW_INLINE void settle(Moments m, bool centred, double* mean, double* variance) {
    *mean = centred ? m.mean : 0;
    *variance = m.count > 0 ? m.squares / m.count + (centred ? 0 : m.mean * m.mean) : 0;
    if (*variance < 0) *variance = 0;
}

// Running statistics of channel i after a batch; nothing was seen: they stay.
NW_INLINE void track(const nw_norm* call, int64_t i, Moments m, double momentum) {
    if (m.count <= 0) return;
    const int32_t dtype = call->parameter_dtype;
    const double unbiased = m.squares / (m.count > 1 ? m.count - 1 : 1);
    if (call->running_mean) {
        const double old = parameter(call->running_mean, dtype, i, 0);
        set_parameter(call->running_mean, dtype, i, old + momentum * (m.mean - old));
    }
    if (call->running_var) {
        const double old = parameter(call->running_var, dtype, i, 1);
        set_parameter(call->running_var, dtype, i, old + momentum * (unbiased - old));
    }
}

// Count the batch, and give the momentum that it has.
NW_INLINE double momentum_of(const nw_norm* call) {
    if (call->batches) *call->batches += 1;
    if (call->momentum >= 0) return call->momentum;
    return call->batches ? 1.0 / static_cast<double>(*call->batches) : 0.0;
}

}  // namespace NW_ISA
}  // namespace nw
