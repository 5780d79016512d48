// Every kernel over odd sizes, on buffers of exactly the size that abi.h asks for: to be compiled with an address sanitizer.
//
// With an argument it reads one element too far, so that a test can see that it would be found.
#include <cmath>
#include <cstdio>
#include <initializer_list>
#include <memory>
#include <new>

#include "kernels_float.cpp"
#include "kernels_half.cpp"

namespace {

using namespace nw::baseline;

// One dtype that is computed in itself and one that is widened: the others go the same ways.
Kernels kernels_of_dtype(int32_t dtype) { return dtype == NW_F32 ? float_kernels() : half_kernels(); }
int64_t width_of(int32_t dtype) { return dtype == NW_F32 ? 4 : 2; }
int64_t calls = 0;

// Bytes that belong to nobody else: a block of its own each, aligned to a line as torch's are.
struct Bytes {
    static constexpr std::align_val_t LINE{64};
    struct Free {
        void operator()(char* block) const { operator delete[](block, LINE); }
    };
    std::unique_ptr<char[], Free> block;
    explicit Bytes(int64_t count, int value = 0) : block(static_cast<char*>(operator new[](static_cast<size_t>(count), LINE))) {
        memset(block.get(), value, static_cast<size_t>(count));
    }
    template <class A> A* as() { return reinterpret_cast<A*>(block.get()); }
};

// Some numbers of a dtype, by conversion from float.
Bytes numbers(int32_t dtype, int64_t count, uint32_t seed) {
    Bytes bytes(count * width_of(dtype));
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        set_parameter(bytes.as<void>(), dtype, i, static_cast<double>(seed >> 8) / (1 << 22) - 2.0, One{});
    }
    return bytes;
}

void normalize(int32_t family, int32_t layout, int32_t dtype, int32_t activation, bool residual, bool dropout, bool weighted, int64_t models,
               int64_t samples, int64_t channels, int64_t positions, int64_t groups) {
    nw_norm call = {};
    call.family = family;
    call.dtype = call.parameter_dtype = dtype;
    call.layout = layout;
    call.activation = activation;
    call.batch_statistics = call.centred = 1;
    call.models = models;
    call.samples = samples;
    call.channels = channels;
    call.positions = positions;
    call.groups = family == NW_ACROSS ? channels : groups;
    call.eps = 1e-5;
    call.momentum = 0.1;
    call.keep_scale = dropout ? 2 : 1;
    const int64_t one = samples * channels * positions, all = models * one, width = width_of(dtype), parameters = models * channels;
    Bytes x = numbers(dtype, all, 1), other = numbers(dtype, all, 2), dy = numbers(dtype, all, 3);
    Bytes weight = numbers(dtype, parameters, 4), bias = numbers(dtype, parameters, 5);
    Bytes mean = numbers(dtype, parameters, 6), variance = numbers(dtype, parameters, 7);
    Bytes y(all * width), dx(all * width), dresidual(all * width), dweight(parameters * width), dbias(parameters * width);
    Bytes saved(nw_saved_elements(&call) * 4);
    Bytes gate(nw_gate_bytes(&call)), batches(8);
    Bytes keep(models * ((one + 127) / 128) * 16 + 16, 0x5a), share = numbers(NW_F32, samples * positions, 8);
    for (int64_t i = 0; i < samples * positions; i++) share.as<float>()[i] = std::fabs(share.as<float>()[i]);
    call.x = x.as<void>();
    call.residual = residual ? other.as<void>() : nullptr;
    call.weight = weight.as<void>();
    call.bias = bias.as<void>();
    if (family == NW_ACROSS) {
        call.running_mean = mean.as<void>();
        call.running_var = variance.as<void>();
        call.batches = batches.as<int64_t>();
        call.sample_weight = weighted ? share.as<float>() : nullptr;
    }
    call.y = y.as<void>();
    call.saved = saved.as<void>();
    call.gate = residual && activation == NW_RELU ? gate.as<uint16_t>() : nullptr;
    call.keep = dropout ? keep.as<uint8_t>() : nullptr;
    kernels_of_dtype(dtype).norm_forward(&call);
    call.dy = dy.as<void>();
    call.dx = dx.as<void>();
    call.dresidual = residual ? dresidual.as<void>() : nullptr;
    call.dweight = dweight.as<void>();
    call.dbias = dbias.as<void>();
    kernels_of_dtype(dtype).norm_backward(&call);

    nw_moments measured = {};
    measured.dtype = dtype;
    measured.layout = layout;
    measured.samples = samples;
    measured.channels = channels;
    measured.positions = positions;
    Bytes count(8), middles(channels * 8), squares(channels * 8);
    measured.x = x.as<void>();
    measured.sample_weight = call.sample_weight;
    measured.count = count.as<double>();
    measured.mean = middles.as<double>();
    measured.squares = squares.as<double>();
    kernels_of_dtype(dtype).moments(&measured);
    calls += 3;
}

void pointwise(int32_t dtype, int64_t models, int64_t elements) {
    Bytes x = numbers(dtype, models * elements, 1), y(models * elements * width_of(dtype)), seeds = numbers(NW_F32, 2 * models, 9);
    Bytes bits(models * ((elements + 127) / 128) * 16), sums(16);
    nw_dropout drop = {};
    drop.dtype = dtype;
    drop.models = models;
    drop.elements = elements;
    drop.seeds = seeds.as<uint64_t>();
    drop.threshold = 20000;
    drop.keep_scale = 1.5;
    drop.x = x.as<void>();
    drop.y = y.as<void>();
    drop.keep = bits.as<uint8_t>();
    kernels_of_dtype(dtype).dropout(&drop);
    keep_bits(&drop);
    nw_penalty penalty = {};
    penalty.dtype = dtype;
    penalty.elements = models * elements;
    penalty.x = x.as<void>();
    penalty.sums = sums.as<double>();
    penalty.y = y.as<void>();
    penalty.l1 = 0.1;
    penalty.l2 = 0.2;
    kernels_of_dtype(dtype).penalty(&penalty);
    kernels_of_dtype(dtype).proximal(&penalty);
    calls += 4;
}

}  // namespace

// All outputs go past the caches whose rows are whole lines.
int64_t nw_past_caches_from = 0;

int main(int arguments, char**) {
    if (arguments > 1) {
        Bytes x = numbers(NW_F32, 16, 1);
        load(x.as<float>() + 17 - LANES).store(x.as<float>());
    }
    const int64_t sizes[][3] = {{1, 1, 1}, {2, 3, 5}, {41, 3, 1}, {9, 2, 3}, {3, 66, 5}, {3, 18, 1}, {2, 2, 17}, {5, 34, 16}, {1, 1, 300}, {2, 66, 31}};
    for (int32_t dtype : {NW_F32, NW_F16}) {
        for (const auto& size : sizes) {
            for (int32_t family = NW_ACROSS; family <= NW_LAYER; family++)
                for (int32_t layout = NW_FIRST; layout <= NW_LAST; layout++)
                    for (int32_t activation : {NW_NONE, NW_RELU, NW_GELU})
                        for (int options = 0; options < 8; options++)
                            normalize(family, layout, dtype, activation, options & 1, options & 2, options & 4,
                                      family == NW_ACROSS && options & 1 ? 3 : 1, size[0], size[1], size[2], size[1] % 2 ? 1 : 2);
        }
        for (int64_t elements : {0, 1, 15, 16, 17, 127, 128, 129, 1000}) pointwise(dtype, 3, elements);
    }
    // Parts, tiles and blocks.
    for (int32_t family = NW_ACROSS; family <= NW_LAYER; family++)
        for (int32_t layout = NW_FIRST; layout <= NW_LAST; layout++)
            for (int32_t activation : {NW_NONE, NW_RELU})
                normalize(family, layout, NW_F32, activation, activation == NW_RELU, true, false, 1, 3, 34, 1301, 2);
    std::printf("%lld calls\n", static_cast<long long>(calls));
    return 0;
}
