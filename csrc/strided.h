// Statistics over the channels of each position, with channels first: Layer and RMS normalization of images without moving them.
//
// A tile is a run of neighbouring positions of one sample, all channels; it stays in the cache between the passes. A part is a fixed
// number of tiles, so that the gradients of weight and bias do not depend on the threads.
#pragma once

#include "finish.h"
#include "matrix.h"

namespace nw {
namespace NW_ISA {

struct Strided {
    int64_t samples, channels, length, tile, tiles_of_sample, tiles, parts, part_tiles, elements, words;
    const uint8_t* keep;

    static constexpr int64_t LEAST_TILE = 64, MOST_TILE = 512;  // positions
    static constexpr int64_t CACHED = 65536;                    // elements of a tile
    static constexpr int64_t MOST_PARTS = 256, LEAST_PARTS = 64;
    static constexpr int64_t MOST_SUMS = 1 << 17;  // of all parts, unless they are fewer than LEAST_PARTS

    explicit Strided(const nw_norm* call)
        : samples(call->samples), channels(call->channels), length(call->positions), tile(MOST_TILE), keep(call->keep) {
        while (tile > LEAST_TILE && tile * channels > CACHED) tile /= 2;
        elements = samples * channels * length;
        tiles_of_sample = (length + tile - 1) / tile;
        tiles = samples * tiles_of_sample;
        const int64_t room = channels > 0 ? MOST_SUMS / channels : 1;
        const int64_t most = room < LEAST_PARTS ? LEAST_PARTS : room < MOST_PARTS ? room : MOST_PARTS;
        part_tiles = (tiles + most - 1) / most;
        if (part_tiles < 1) part_tiles = 1;
        parts = (tiles + part_tiles - 1) / part_tiles;
        words = gate_words(length);
    }
    // each(sample, first position, positions) over the tiles of a part.
    template <class F> NW_INLINE void each_tile(int64_t part, F each) const {
        const int64_t end = (part + 1) * part_tiles < tiles ? (part + 1) * part_tiles : tiles;
        for (int64_t t = part * part_tiles; t < end; t++) {
            const int64_t from = t % tiles_of_sample * tile;
            each(t / tiles_of_sample, from, length - from < tile ? length - from : tile);
        }
    }
};

// The statistics of the n positions of a tile that begins at x.
template <class T>
static inline void statistics_of_tile(const Strided& p, const T* NW_RESTRICT x, int64_t n, const Conclusion<compute<T>>& conclude,
                                      int64_t statistic) {
    typedef compute<T> A;
    const bool centred = conclude.call->centred;
    A about[Strided::MOST_TILE];
    double first[Strided::MOST_TILE], second[Strided::MOST_TILE];
    // The shift: the mean of a few channels.
    const int64_t few = p.channels < 4 ? p.channels : 4;
    const Pack<A> share = Pack<A>::of(centred ? static_cast<A>(1.0 / static_cast<double>(few)) : 0);
    each_pack(n, [&](int64_t i, auto lanes) NW_INLINED {
        Pack<A> sum = Pack<A>::zero();
        for (int64_t c = 0; c < few; c++) sum = sum + load(x + c * p.length + i, lanes);
        store(about + i, centred ? sum * share : Pack<A>::zero(), lanes);
    });
    column_sums<A>(0, p.channels, n, first, second, [&](int64_t c, int64_t i, auto lanes, Pack<A>* a, Pack<A>* b) NW_INLINED {
        prefetch(x + (c + 2 * ROWS) * p.length + i);
        const Pack<A> d = load(x + c * p.length + i, lanes) - load(about + i, lanes);
        *a = *a + d;
        *b = fma(d, d, *b);
    });
    const double count = static_cast<double>(p.channels);
    moments_of_sums(n, count, centred, about, first, second, [&](int64_t i) {
        return moments_in_double(
            p.channels, centred, [&](int64_t c) { return static_cast<double>(widen(x[c * p.length + i])); }, [](int64_t) { return 1.0; });
    });
    each_pack(n, [&](int64_t i, auto lanes) NW_INLINED { conclude(statistic + i, count, load(first + i, lanes), load(second + i, lanes), lanes); });
}

template <class T, Kind kind>
static inline void finish_tile(const Strided& p, const T* NW_RESTRICT x, const Finish<T, kind> finish, const Saved<compute<T>> saved,
                               int64_t sample, int64_t from, int64_t n) {
    typedef compute<T> A;
    const int64_t begin = sample * p.channels * p.length + from, statistic = sample * p.length + from;
    const uint8_t* keep = p.keep;
    each_rows(0, p.channels, [&](int64_t c, auto channels) NW_INLINED {
        each_pack(n, [&](int64_t i, auto lanes) NW_INLINED {
            const int64_t s = statistic + i;
            const Pack<A> high = load(saved.high + s, lanes), low = load(saved.low + s, lanes), rstd = load(saved.rstd + s, lanes);
            NW_UNROLL
            for (int k = 0; k < channels.value; k++) {
                const int64_t at = begin + (c + k) * p.length + i, word = (sample * p.channels + c + k) * p.words + (from + i) / LANES;
                finish.y.fetch(at + ROWS * p.length);
                const Pack<A> hat = ((load(x + at, lanes) - high) - low) * rstd;
                finish.forward(fma(hat, Pack<A>::of(saved.weight[c + k]), Pack<A>::of(saved.bias[c + k])), at, at, word, keep, lanes);
            }
        });
    });
}

template <class T, Kind kind> static int32_t strided_forward(const nw_norm* call) {
    typedef compute<T> A;
    const Strided p(call);
    const T* NW_RESTRICT x = static_cast<const T*>(call->x);
    const Finish<T, kind> finish(call, p.length);
    const Saved<A> saved(call->saved, p.samples * p.length, p.channels);
    saved.set_affine(call, p.channels);
    const Conclusion<A> conclude(call, saved);
    parallel(p.parts, p.elements, [&](int64_t part) {
        p.each_tile(part, [&](int64_t sample, int64_t from, int64_t n) NW_INLINED {
            statistics_of_tile(p, x + sample * p.channels * p.length + from, n, conclude, sample * p.length + from);
            finish_tile(p, x, finish, saved, sample, from, n);
        });
    });
    return 0;
}

// dx and the residual's gradient of a tile; the gradients of weight and bias are added up, null for not wanted.
template <class T, Kind kind>
static inline void gradient_of_tile(const Strided& p, const T* NW_RESTRICT x, const Output<T> dx, const Finish<T, kind> finish,
                                    const Saved<compute<T>> saved, int64_t sample, int64_t from, int64_t n, bool centred,
                                    double* NW_RESTRICT dweight, double* NW_RESTRICT dbias) {
    typedef compute<T> A;
    constexpr int AT_ONCE = SLOTS<A>;  // channels whose sums stay in registers
    const Pack<A> share = Pack<A>::of(static_cast<A>(p.channels > 0 ? 1.0 / static_cast<double>(p.channels) : 0));
    const uint8_t* keep = p.keep;
    const int64_t begin = sample * p.channels * p.length + from, statistic = sample * p.length + from;
    const auto gradient_of = [&](int64_t c, int64_t i, Pack<A> high, Pack<A> low, Pack<A> rstd, auto lanes, Pack<A>* hat) NW_INLINED {
        const int64_t at = begin + c * p.length + i;
        *hat = ((load(x + at, lanes) - high) - low) * rstd;
        Pack<A> z = *hat;
        if constexpr (kind != PLAIN) z = fma(z, Pack<A>::of(saved.weight[c]), Pack<A>::of(saved.bias[c]));
        return finish.backward(z, at, at, (sample * p.channels + c) * p.words + (from + i) / LANES, keep, lanes);
    };
    // What flows back through the statistics of a position; sums of a few channels are taken in float lanes.
    A some[2][Strided::MOST_TILE], constant[Strided::MOST_TILE], slope[Strided::MOST_TILE];
    double first[Strided::MOST_TILE], second[Strided::MOST_TILE];
    constexpr int64_t FLUSH = 32;
    memset(first, 0, static_cast<size_t>(n) * sizeof(double));
    memset(second, 0, static_cast<size_t>(n) * sizeof(double));
    const auto sum_channels = [&](int64_t c, auto channels) NW_INLINED {
        Pack<A> by_bias[AT_ONCE], by_weight[AT_ONCE];
        NW_UNROLL
        for (int k = 0; k < AT_ONCE; k++) by_bias[k] = by_weight[k] = Pack<A>::zero();
        each_pack(n, [&](int64_t i, auto lanes) NW_INLINED {
            const int64_t s = statistic + i;
            const Pack<A> high = load(saved.high + s, lanes), low = load(saved.low + s, lanes), rstd = load(saved.rstd + s, lanes);
            Pack<A> a = load(some[0] + i, lanes), b = load(some[1] + i, lanes);
            NW_UNROLL
            for (int k = 0; k < channels.value; k++) {
                prefetch(x + begin + (c + AT_ONCE + k) * p.length + i);
                prefetch(finish.dy + begin + (c + AT_ONCE + k) * p.length + i);
                Pack<A> hat;
                const Pack<A> dz = gradient_of(c + k, i, high, low, rstd, lanes, &hat);
                const Pack<A> inside = only(hat, lanes), weighted = dz * Pack<A>::of(saved.weight[c + k]);
                by_bias[k] = by_bias[k] + dz;
                by_weight[k] = fma(dz, inside, by_weight[k]);
                a = a + weighted;
                b = fma(weighted, inside, b);
            }
            store(some[0] + i, a, lanes);
            store(some[1] + i, b, lanes);
        });
        if (!dweight) return;
        NW_UNROLL
        for (int k = 0; k < channels.value; k++) {
            dbias[c + k] += sum(to_double(by_bias[k]));
            dweight[c + k] += sum(to_double(by_weight[k]));
        }
    };
    for (int64_t c = 0; c < p.channels; c += FLUSH) {
        const int64_t end = c + FLUSH < p.channels ? c + FLUSH : p.channels;
        memset(some[0], 0, static_cast<size_t>(n) * sizeof(A));
        memset(some[1], 0, static_cast<size_t>(n) * sizeof(A));
        int64_t k = c;
        for (; k + AT_ONCE <= end; k += AT_ONCE) sum_channels(k, Times<AT_ONCE>{});
        for (; k < end; k++) sum_channels(k, Times<1>{});
        each_pack(n, [&](int64_t i, auto lanes) NW_INLINED {
            store(first + i, load(first + i, lanes) + to_double(load(some[0] + i, lanes)), lanes);
            store(second + i, load(second + i, lanes) + to_double(load(some[1] + i, lanes)), lanes);
        });
    }
    if (!dx && !finish.dresidual) return;
    each_pack(n, [&](int64_t i, auto lanes) NW_INLINED {
        store(constant + i, centred ? from_double<A>(load(first + i, lanes)) * share : Pack<A>::zero(), lanes);
        store(slope + i, from_double<A>(load(second + i, lanes)) * share, lanes);
    });
    each_rows(0, p.channels, [&](int64_t c, auto channels) NW_INLINED {
        each_pack(n, [&](int64_t i, auto lanes) NW_INLINED {
            const int64_t s = statistic + i;
            const Pack<A> high = load(saved.high + s, lanes), low = load(saved.low + s, lanes), rstd = load(saved.rstd + s, lanes);
            const Pack<A> through = load(slope + i, lanes), fixed = load(constant + i, lanes);
            NW_UNROLL
            for (int k = 0; k < channels.value; k++) {
                const int64_t at = begin + (c + k) * p.length + i;
                if (dx) dx.fetch(at + ROWS * p.length);
                Pack<A> hat;
                const Pack<A> dz = gradient_of(c + k, i, high, low, rstd, lanes, &hat);
                if (finish.dresidual) finish.dresidual.set(at, dz, lanes);
                if (!dx) continue;
                const Pack<A> back = fma(hat, through, fixed);
                dx.set(at, rstd * fma(dz, Pack<A>::of(saved.weight[c + k]), Pack<A>::zero() - back), lanes);
            }
        });
    });
}

template <class T, Kind kind> static int32_t strided_backward(const nw_norm* call) {
    typedef compute<T> A;
    const Strided p(call);
    const T* NW_RESTRICT x = static_cast<const T*>(call->x);
    const Output<T> dx = output_of<T>(call->dx, call, p.length);
    const Finish<T, kind> finish(call, p.length);
    const Saved<A> saved(call->saved, p.samples * p.length, p.channels);
    const bool centred = call->centred, affine = call->dweight || call->dbias;

    const int64_t sums = affine ? p.parts * p.channels : 0;
    Scratch scratch(2 * Scratch::room<double>(sums));
    if (!scratch.ok()) return 1;
    double *dweight = scratch.take<double>(sums), *dbias = scratch.take<double>(sums);
    memset(dweight, 0, static_cast<size_t>(sums) * sizeof(double));
    memset(dbias, 0, static_cast<size_t>(sums) * sizeof(double));
    parallel(p.parts, p.elements, [&](int64_t part) {
        p.each_tile(part, [&](int64_t sample, int64_t from, int64_t n) NW_INLINED {
            gradient_of_tile(p, x, dx, finish, saved, sample, from, n, centred, affine ? dweight + part * p.channels : nullptr,
                             affine ? dbias + part * p.channels : nullptr);
        });
    });
    if (!affine) return 0;
    each_columns(p.channels, p.parts, [&](int64_t from, int64_t to) {
        add_rows(p.parts, p.channels, from, to, dweight);
        add_rows(p.parts, p.channels, from, to, dbias);
        each_pack(to - from, [&](int64_t i, auto lanes) NW_INLINED {
            set_parameter(call->dweight, call->parameter_dtype, from + i, load(dweight + from + i, lanes), lanes);
            set_parameter(call->dbias, call->parameter_dtype, from + i, load(dbias + from + i, lanes), lanes);
        });
    });
    return 0;
}

}  // namespace NW_ISA
}  // namespace nw
