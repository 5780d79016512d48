// Moments of each channel alone, for statistics that several devices or many batches share.
#pragma once

#include "columns.h"
#include "planes.h"

namespace nw {
namespace NW_ISA {

template <class T> static int32_t measure(const nw_moments* call) {
    nw_norm shape = {};
    shape.family = NW_ACROSS;
    shape.models = 1;
    shape.samples = call->samples;
    shape.channels = shape.groups = call->channels;
    shape.positions = call->positions;
    shape.sample_weight = call->sample_weight;
    shape.layout = call->layout;
    const T* x = static_cast<const T*>(call->x);
    if (lie_apart(&shape)) {
        const Planes p(&shape);
        Scratch scratch(Scratch::room<Moments>(p.units * p.parts));
        if (!scratch.ok()) return 1;
        Moments* parts = scratch.take<Moments>(p.units * p.parts);
        parallel(p.units * p.parts, p.elements, [&](int64_t i) { parts[i] = moments_of_part(p, x, i / p.parts, i % p.parts); });
        for (int64_t c = 0; c < p.channels; c++) {
            const Moments m = merge(p.parts, [&](int64_t part) { return parts[c * p.parts + part]; });
            *call->count = m.count;
            call->mean[c] = m.mean;
            call->squares[c] = m.squares;
        }
        return 0;
    }
    const Columns p(&shape);
    const int64_t all = p.parts * p.wide;
    Scratch scratch(2 * Scratch::room<double>(all) + Scratch::room<double>(p.parts) + Scratch::room<compute<T>>(all));
    if (!scratch.ok()) return 1;
    double *mean = scratch.take<double>(all), *squares = scratch.take<double>(all), *counts = scratch.take<double>(p.parts);
    compute<T>* about = scratch.take<compute<T>>(all);
    parallel(p.parts, p.elements, [&](int64_t part) {
        const int64_t at = part * p.wide;
        counts[part] = moments_of_columns(p, x, part, mean + at, squares + at, about + at);
    });
    *call->count = merge_rows(p.parts, p.wide, 0, p.channels, counts, mean, squares);
    memcpy(call->mean, mean, static_cast<size_t>(p.channels) * sizeof(double));
    memcpy(call->squares, squares, static_cast<size_t>(p.channels) * sizeof(double));
    return 0;
}

}  // namespace NW_ISA
}  // namespace nw
