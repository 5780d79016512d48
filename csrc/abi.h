// The one interface between the kernels and their bindings: plain C structures and a table of functions.
//
// A binding fills a structure with pointers and sizes and calls through the table; nothing here knows of torch or Python.
#pragma once

#include <cstdint>

#define NW_ABI_VERSION 6

enum nw_dtype : int32_t { NW_F32 = 0, NW_F64 = 1, NW_BF16 = 2, NW_F16 = 3 };

// Channels first in memory, (N, C, S), or last, (N, S, C).
enum nw_layout : int32_t { NW_FIRST = 0, NW_LAST = 1 };

// Which elements share a statistic.
enum nw_family : int32_t {
    NW_ACROSS = 0,   // all of N and S, per channel: Batch; affine per channel
    NW_GROUP = 1,    // a group of channels and all S, per sample: Group, Instance; affine per channel
    NW_LAYER = 2,    // all channels, per sample and position: Layer, RMS; affine per channel
};

enum nw_activation : int32_t {
    NW_NONE = 0,
    NW_RELU = 1,
    NW_LEAKY_RELU = 2,
    NW_GELU = 3,
    NW_SILU = 4,
    NW_TANH = 5,
    NW_SIGMOID = 6,
};

// y = dropout(activation(normalize(x) + residual)), and its backward.
//
// All tensors lie densely in the given layout. A pointer that may be null says so.
struct nw_norm {
    int32_t family, dtype, layout, activation;
    int32_t parameter_dtype;   // of weight and bias
    int32_t running_dtype;     // of the running statistics
    int32_t biased;            // the running variance takes the biased variance, not the unbiased one
    int32_t batch_statistics;  // use the input's statistics, not the running ones
    int32_t centred;           // subtract the mean
    int64_t models;            // stacked models, K: x is (K, N, C, S); 1 unless the family is NW_ACROSS
    int64_t samples, channels, positions, groups;
    double eps;
    double momentum;           // of the running statistics; negative: all batches count alike
    double keep_scale;         // what a kept element is multiplied by; dropout only

    const void* x;
    const void* residual;      // null: none
    const void* weight;        // null: 1
    const void* bias;          // null: 0
    void* running_mean;        // null: none; (K, C)
    void* running_var;         // null: none; (K, C)
    int64_t* batches;          // null: none; counts up by one
    int64_t* skipped;          // null: none; counts up instead where a statistic is not finite: then nothing is kept
    double* tracked;           // the kernels' own: (2, K, C), a batch's mean and variance on their way to the running ones
    const float* sample_weight;  // null: 1; (N, S), of the statistics across samples
    void* y;
    void* saved;               // nw_saved_elements() of float (double for NW_F64): what the backward needs
    uint16_t* gate;            // null: none; one bit an element where a residual meets a ReLU, rows padded to 16
    const uint8_t* keep;       // null: no dropout; one bit an element in memory order, a model's padded to 128

    // Backward alone.
    const void* dy;
    void* dx;                  // null: not wanted
    void* dresidual;           // null: not wanted
    void* dweight;             // null: not wanted
    void* dbias;               // null: not wanted
};

// Moments of each channel over samples and positions, as double: count, mean, sum of squared deviations.
struct nw_moments {
    int32_t dtype, layout;
    int64_t samples, channels, positions;
    const void* x;
    const float* sample_weight;  // null: 1; (N, S)
    double* count;               // (1)
    double* mean;                // (C)
    double* squares;             // (C)
};

// Dropout of K models of `elements` each; model k draws from seeds[k]. y may be x.
struct nw_dropout {
    int32_t dtype;
    int32_t reserved;
    int64_t models, elements;
    const uint64_t* seeds;
    uint64_t offset;
    uint32_t threshold;        // of 65536: an element is dropped where its 16 bits are below
    double keep_scale;
    const void* x;
    void* y;
    uint8_t* keep;             // nw_keep: one bit an element, a model's padded to 128
};

// Penalties and proximal steps over one tensor.
struct nw_penalty {
    int32_t dtype;
    int32_t reserved;
    int64_t elements;
    int64_t together;          // bytes of all gradients that are written one after another, this among them
    const void* x;
    double* sums;              // (2): sum of |x|, sum of x²
    void* y;                   // penalty: null: not wanted; y = l1 · sign(x) + l2 · x; proximal: y is x
    double l1, l2;
};

struct nw_table {
    int32_t version;
    int32_t lanes;             // float lanes of a machine vector
    const char* isa;
    int32_t (*norm_forward)(const nw_norm*);
    int32_t (*norm_backward)(const nw_norm*);
    int32_t (*moments)(const nw_moments*);
    int32_t (*keep)(const nw_dropout*);
    int32_t (*dropout)(const nw_dropout*);
    int32_t (*penalty)(const nw_penalty*);
    int32_t (*proximal)(const nw_penalty*);
    void* (*take_block)(int64_t bytes);  // as blocks.h has it
    void (*give_block)(void* block);
};

// Elements of `saved`: per statistic the mean (high and low part) and 1/sqrt(var + eps); then the affine map.
inline int64_t nw_saved_elements(const nw_norm* call) {
    int64_t statistics;
    switch (call->family) {
        case NW_ACROSS: statistics = call->models * call->channels; break;
        case NW_GROUP: statistics = call->samples * call->groups; break;
        default: statistics = call->samples * call->positions; break;
    }
    return 3 * statistics + 2 * call->models * call->channels;
}

// Bytes of `gate`. How its bits lie is the kernels' own affair: rows padded to 16 bits, none shorter than these.
inline int64_t nw_gate_bytes(const nw_norm* call) {
    const int64_t elements = call->models * call->samples * call->channels * call->positions;
    int64_t row = call->layout == NW_FIRST ? call->positions : call->channels;
    if (call->family == NW_GROUP && call->positions == 1) row = call->channels / call->groups;
    return row > 0 ? elements / row * ((row + 15) / 16) * 2 : 0;
}
