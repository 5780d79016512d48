// Statistics over the channels of each position, with channels first: Layer and RMS normalization of images without moving them.
//
// A tile is a run of neighbouring positions of one sample, all channels; it stays in the cache between the passes. Sums of a few
// channels are taken in float and added up in double. A part is a fixed number of tiles, so that the gradients of weight and
// bias do not depend on the threads.
#pragma once

#include "abi.h"
#include "finish.h"
#include "moments.h"
#include "parallel.h"

namespace nw {
namespace NW_ISA {

struct Strided {
    int64_t samples, channels, length, tile, tiles, parts, part_tiles, elements, words;
    const uint8_t* keep;

    static constexpr int64_t TILE = 256;  // positions, at most
    static constexpr int64_t FLUSH = 16;  // channels
    static constexpr int64_t MOST_PARTS = 64;

    explicit Strided(const nw_norm* call)
        : samples(call->samples), channels(call->channels), length(call->positions), keep(call->keep) {
        tile = TILE;
        elements = samples * channels * length;
        tiles = samples * ((length + tile - 1) / tile);
        part_tiles = (tiles + MOST_PARTS - 1) / MOST_PARTS;
        if (part_tiles < 1) part_tiles = 1;
        parts = (tiles + part_tiles - 1) / part_tiles;
        words = gate_words(length);
    }
    NW_INLINE int64_t tiles_of_sample() const { return (length + tile - 1) / tile; }
};

struct TileSums {
    double first[Strided::TILE], second[Strided::TILE];
    void clear() { memset(this, 0, sizeof *this); }
    template <class A, class L> NW_INLINE void add(int64_t i, Pack<A> a, Pack<A> b, L lanes) {
        store(first + i, load(first + i, lanes) + to_double(a), lanes);
        store(second + i, load(second + i, lanes) + to_double(b), lanes);
    }
};

// each(sample, first position, positions) over the tiles of a part.
template <class F> static inline void each_tile(const Strided& p, int64_t part, F each) {
    const int64_t end = (part + 1) * p.part_tiles < p.tiles ? (part + 1) * p.part_tiles : p.tiles;
    for (int64_t t = part * p.part_tiles; t < end; t++) {
        const int64_t from = t % p.tiles_of_sample() * p.tile;
        each(t / p.tiles_of_sample(), from, p.length - from < p.tile ? p.length - from : p.tile);
    }
}

template <class T>
static inline void statistics_of_tile(const Strided& p, const T* NW_RESTRICT x, int64_t n, bool centred, double eps,
                                      const Saved<compute<T>>& saved, int64_t statistic) {
    typedef compute<T> A;
    TileSums sums;
    A about[Strided::TILE];
    sums.clear();
    const int64_t first_channels = p.channels < 4 ? p.channels : 4;
    for (int64_t i = 0; i < n; i++) about[i] = 0;
    if (centred) {
        each_pack(n, [&](int64_t i, auto lanes) {
            Pack<A> sum = Pack<A>::zero();
            for (int64_t c = 0; c < first_channels; c++) sum = sum + load(x + c * p.length + i, lanes);
            store(about + i, sum * Pack<A>::of(static_cast<A>(1.0 / static_cast<double>(first_channels))), lanes);
        });
    }
    // FLUSH channels at once: their sums stay in registers.
    for (int64_t c = 0; c < p.channels; c += Strided::FLUSH) {
        const int64_t end = c + Strided::FLUSH < p.channels ? c + Strided::FLUSH : p.channels;
        each_pack(n, [&](int64_t i, auto lanes) {
            const Pack<A> shift = load(about + i, lanes);
            Pack<A> first = Pack<A>::zero(), second = first;
            for (int64_t k = c; k < end; k++) {
                prefetch(x + (k + Strided::FLUSH) * p.length + i);
                const Pack<A> d = load(x + k * p.length + i, lanes) - shift;
                first = first + d;
                second = fma(d, d, second);
            }
            sums.add(i, first, second, lanes);
        });
    }
    const double count = static_cast<double>(p.channels);
    for (int64_t i = 0; i < n; i++) {
        const double first = sums.first[i], second = sums.second[i];
        double mean = static_cast<double>(about[i]) + first / count, squares = second - first * first / count;
        if (!centred) {
            mean = 0;
            squares = second;
        }
        if (centred ? !(trusted(count, first, second) || (first == 0 && second == 0)) : !(second <= 1e300)) {
            double total = 0, rest = 0;
            squares = mean = 0;
            if (centred) {
                for (int64_t c = 0; c < p.channels; c++) total += static_cast<double>(widen(x[c * p.length + i]));
                mean = total / count;
            }
            for (int64_t c = 0; c < p.channels; c++) {
                const double d = static_cast<double>(widen(x[c * p.length + i])) - mean;
                rest += d;
                squares += d * d;
            }
            if (centred) {
                mean += rest / count;  // what the rounded mean missed
                squares -= rest * rest / count;
            }
        }
        saved.set(statistic + i, mean, squares > 0 || squares != squares ? squares / count : 0, eps);
    }
}

template <class T, Kind kind> static int32_t strided_forward(const nw_norm* call) {
    typedef compute<T> A;
    const Strided p(call);
    const T* NW_RESTRICT x = static_cast<const T*>(call->x);
    const Finish<T, kind> finish(call);
    const Saved<A> saved(call->saved, p.samples * p.length, p.channels);
    saved.set_affine(call, p.channels);
    parallel(p.parts, p.elements, [&](int64_t part) {
        each_tile(p, part, [&](int64_t sample, int64_t from, int64_t n) {
            const int64_t begin = sample * p.channels * p.length + from, statistic = sample * p.length + from;
            statistics_of_tile(p, x + begin, n, call->centred, call->eps, saved, statistic);
            for (int64_t c = 0; c < p.channels; c++) {
                const Pack<A> weight = Pack<A>::of(saved.weight[c]), bias = Pack<A>::of(saved.bias[c]);
                const int64_t at = begin + c * p.length, word = (sample * p.channels + c) * p.words + from / LANES;
                each_pack(n, [&](int64_t i, auto lanes) {
                    const int64_t s = statistic + i;
                    const Pack<A> d = (load(x + at + i, lanes) - load(saved.high + s, lanes)) - load(saved.low + s, lanes);
                    finish.forward(fma(d * load(saved.rstd + s, lanes), weight, bias), at + i, at + i, word + i / LANES, p.keep, lanes);
                });
            }
        });
    });
    return 0;
}

template <class T, Kind kind> static int32_t strided_backward(const nw_norm* call) {
    typedef compute<T> A;
    constexpr int64_t AT_ONCE = 4;
    const Strided p(call);
    const T* NW_RESTRICT x = static_cast<const T*>(call->x);
    T* dx = static_cast<T*>(call->dx);
    const Finish<T, kind> finish(call);
    const Saved<A> saved(call->saved, p.samples * p.length, p.channels);
    const bool centred = call->centred, affine = call->dweight || call->dbias;

    Scratch scratch(affine ? 2 * Scratch::room<double>(p.parts * p.channels) : 0);
    if (!scratch.ok()) return 1;
    double *dweight = nullptr, *dbias = nullptr;
    if (affine) {
        dweight = scratch.take<double>(p.parts * p.channels);
        dbias = scratch.take<double>(p.parts * p.channels);
        memset(dweight, 0, static_cast<size_t>(p.parts * p.channels) * sizeof(double));
        memset(dbias, 0, static_cast<size_t>(p.parts * p.channels) * sizeof(double));
    }
    const double share = p.channels > 0 ? 1.0 / static_cast<double>(p.channels) : 0;
    parallel(p.parts, p.elements, [&](int64_t part) {
        each_tile(p, part, [&](int64_t sample, int64_t from, int64_t n) {
            const int64_t begin = sample * p.channels * p.length + from, statistic = sample * p.length + from;
            const auto gradient_of = [&](int64_t c, int64_t i, auto lanes, Pack<A>* hat) {
                const int64_t s = statistic + i, at = begin + c * p.length + i;
                *hat = ((load(x + at, lanes) - load(saved.high + s, lanes)) - load(saved.low + s, lanes)) * load(saved.rstd + s, lanes);
                Pack<A> z = *hat;
                if constexpr (kind != PLAIN) z = fma(z, Pack<A>::of(saved.weight[c]), Pack<A>::of(saved.bias[c]));
                const int64_t word = (sample * p.channels + c) * p.words + (from + i) / LANES;
                return finish.backward(z, at, at, word, p.keep, lanes);
            };
            TileSums sums;
            A constant[Strided::TILE], slope[Strided::TILE];
            sums.clear();
            for (int64_t c = 0; c < p.channels; c += AT_ONCE) {
                const int64_t count = c + AT_ONCE < p.channels ? AT_ONCE : p.channels - c;
                Pack<A> by_bias[AT_ONCE], by_weight[AT_ONCE];
                NW_UNROLL
                for (int64_t k = 0; k < AT_ONCE; k++) by_bias[k] = by_weight[k] = Pack<A>::zero();
                each_pack(n, [&](int64_t i, auto lanes) {
                    Pack<A> first = Pack<A>::zero(), second = first;
                    NW_UNROLL
                    for (int64_t k = 0; k < AT_ONCE; k++) {
                        if (k >= count) break;
                        prefetch(x + begin + (c + AT_ONCE + k) * p.length + i);
                        prefetch(finish.dy + begin + (c + AT_ONCE + k) * p.length + i);
                        Pack<A> hat;
                        const Pack<A> dz = gradient_of(c + k, i, lanes, &hat);
                        const Pack<A> inside = only(hat, lanes), weighted = dz * Pack<A>::of(saved.weight[c + k]);
                        by_bias[k] = by_bias[k] + dz;
                        by_weight[k] = fma(dz, inside, by_weight[k]);
                        first = first + weighted;
                        second = fma(weighted, inside, second);
                    }
                    sums.add(i, first, second, lanes);
                });
                if (!affine) continue;
                for (int64_t k = 0; k < count; k++) {
                    dbias[part * p.channels + c + k] += sum(to_double(by_bias[k]));
                    dweight[part * p.channels + c + k] += sum(to_double(by_weight[k]));
                }
            }
            if (!dx && !finish.dresidual) return;
            for (int64_t i = 0; i < n; i++) {
                constant[i] = static_cast<A>(centred ? sums.first[i] * share : 0);
                slope[i] = static_cast<A>(sums.second[i] * share);
            }
            for (int64_t c = 0; c < p.channels; c++) {
                const Pack<A> weight = Pack<A>::of(saved.weight[c]);
                each_pack(n, [&](int64_t i, auto lanes) {
                    Pack<A> hat;
                    const Pack<A> dz = gradient_of(c, i, lanes, &hat);
                    const int64_t at = begin + c * p.length + i;
                    if (finish.dresidual) store(finish.dresidual + at, dz, lanes);
                    if (!dx) return;
                    const Pack<A> back = fma(hat, load(slope + i, lanes), load(constant + i, lanes));
                    store(dx + at, load(saved.rstd + statistic + i, lanes) * fma(dz, weight, Pack<A>::zero() - back), lanes);
                });
            }
        });
    });
    if (!affine) return 0;
    for (int64_t c = 0; c < p.channels; c++) {
        double weight = 0, bias = 0;
        for (int64_t part = 0; part < p.parts; part++) {
            weight += dweight[part * p.channels + c];
            bias += dbias[part * p.channels + c];
        }
        set_parameter(call->dweight, call->parameter_dtype, c, weight);
        set_parameter(call->dbias, call->parameter_dtype, c, bias);
    }
    return 0;
}

}  // namespace NW_ISA
}  // namespace nw
