// The portable binding: nanobind functions that take addresses as integers. It knows nothing of torch, so that one build serves
// every version of it; `normwise.kernels.cpu` checks shapes, layouts and lifetimes before it calls.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "abi.h"
#include "blocks.h"
#include "dispatch.h"
#include "portable_tensors.h"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace nb = nanobind;

namespace {

typedef uintptr_t Address;

// Calls shorter than this keep the interpreter's lock: giving it away costs more than they take.
constexpr int64_t LONG_CALL = 16384;

const nw_table* kernels = nw_kernels(nullptr);

template <class T> T* at(Address address) { return reinterpret_cast<T*>(address); }

template <class Call> void run(int32_t (*kernel)(const Call*), const Call& call, int64_t elements) {
    int32_t failed;
    if (elements >= LONG_CALL) {
        nb::gil_scoped_release release;
        failed = kernel(&call);
    } else {
        failed = kernel(&call);
    }
    if (failed) throw std::bad_alloc();
}

nw_norm norm_of(int family, int dtype, int layout, int activation, int parameter_dtype, bool batch_statistics, bool centred, int64_t models,
                int64_t samples, int64_t channels, int64_t positions, int64_t groups, double keep_scale, Address x, Address residual,
                Address sample_weight, Address saved, Address gate, Address keep) {
    nw_norm call = {};
    call.family = family;
    call.dtype = dtype;
    call.layout = layout;
    call.activation = activation;
    call.parameter_dtype = parameter_dtype;
    call.batch_statistics = batch_statistics;
    call.centred = centred;
    call.models = models;
    call.samples = samples;
    call.channels = channels;
    call.positions = positions;
    call.groups = groups;
    call.keep_scale = keep_scale;
    call.x = at<void>(x);
    call.residual = at<void>(residual);
    call.sample_weight = at<float>(sample_weight);
    call.saved = at<void>(saved);
    call.gate = at<uint16_t>(gate);
    call.keep = at<uint8_t>(keep);
    return call;
}

int64_t elements(const nw_norm& call) { return call.models * call.samples * call.channels * call.positions; }

void norm_forward(int family, int dtype, int layout, int activation, int parameter_dtype, bool batch_statistics, bool centred, int64_t models,
                  int64_t samples, int64_t channels, int64_t positions, int64_t groups, double keep_scale, Address x, Address residual,
                  Address sample_weight, Address saved, Address gate, Address keep, double eps, double momentum, Address weight,
                  Address bias, Address running_mean, Address running_var, int running_dtype, bool biased, Address batches,
                  Address skipped, Address y) {
    nw_norm call = norm_of(family, dtype, layout, activation, parameter_dtype, batch_statistics, centred, models, samples, channels,
                           positions, groups, keep_scale, x, residual, sample_weight, saved, gate, keep);
    call.eps = eps;
    call.momentum = momentum;
    call.weight = at<void>(weight);
    call.bias = at<void>(bias);
    call.running_mean = at<void>(running_mean);
    call.running_var = at<void>(running_var);
    call.running_dtype = running_dtype;
    call.biased = biased;
    call.batches = at<int64_t>(batches);
    call.skipped = at<int64_t>(skipped);
    call.y = at<void>(y);
    run(kernels->norm_forward, call, elements(call));
}

void norm_backward(int family, int dtype, int layout, int activation, int parameter_dtype, bool batch_statistics, bool centred, int64_t models,
                   int64_t samples, int64_t channels, int64_t positions, int64_t groups, double keep_scale, Address x, Address residual,
                   Address sample_weight, Address saved, Address gate, Address keep, Address dy, Address dx, Address dresidual,
                   Address dweight, Address dbias) {
    nw_norm call = norm_of(family, dtype, layout, activation, parameter_dtype, batch_statistics, centred, models, samples, channels,
                           positions, groups, keep_scale, x, residual, sample_weight, saved, gate, keep);
    call.dy = at<void>(dy);
    call.dx = at<void>(dx);
    call.dresidual = at<void>(dresidual);
    call.dweight = at<void>(dweight);
    call.dbias = at<void>(dbias);
    run(kernels->norm_backward, call, elements(call));
}

void moments(int dtype, int layout, int64_t samples, int64_t channels, int64_t positions, Address x, Address sample_weight, Address count,
             Address mean, Address squares) {
    const nw_moments call = {dtype,         layout,           samples,           channels, positions, at<void>(x), at<float>(sample_weight),
                             at<double>(count), at<double>(mean), at<double>(squares)};
    run(kernels->moments, call, samples * channels * positions);
}

nw_dropout dropout_of(int dtype, int64_t models, int64_t elements, Address seeds, uint64_t offset, uint32_t threshold, double keep_scale) {
    nw_dropout call = {};
    call.dtype = dtype;
    call.models = models;
    call.elements = elements;
    call.seeds = at<uint64_t>(seeds);
    call.offset = offset;
    call.threshold = threshold;
    call.keep_scale = keep_scale;
    return call;
}

void dropout(int dtype, int64_t models, int64_t elements, Address seeds, uint64_t offset, uint32_t threshold, double keep_scale, Address x,
             Address y) {
    nw_dropout call = dropout_of(dtype, models, elements, seeds, offset, threshold, keep_scale);
    call.x = at<void>(x);
    call.y = at<void>(y);
    run(kernels->dropout, call, models * elements);
}

void keep(int64_t models, int64_t elements, Address seeds, uint64_t offset, uint32_t threshold, Address bits) {
    nw_dropout call = dropout_of(NW_F32, models, elements, seeds, offset, threshold, 1);
    call.keep = at<uint8_t>(bits);
    run(kernels->keep, call, models * elements);
}

nb::tuple penalty(int dtype, int64_t elements, Address x, Address y, double l1, double l2, int64_t together) {
    double sums[2] = {0, 0};
    nw_penalty call = {};
    call.dtype = dtype;
    call.elements = elements;
    call.x = at<void>(x);
    call.sums = sums;
    call.y = at<void>(y);
    call.l1 = l1;
    call.l2 = l2;
    call.together = together;
    run(kernels->penalty, call, elements);
    return nb::make_tuple(sums[0], sums[1]);
}

void proximal(int dtype, int64_t elements, Address y, double l1, double l2) {
    nw_penalty call = {};
    call.dtype = dtype;
    call.elements = elements;
    call.y = at<void>(y);
    call.l1 = l1;
    call.l2 = l2;
    run(kernels->proximal, call, elements);
}

// Running statistics as they were, and where they lie.
struct Held {
    bool wide;  // double, not float
    int64_t channels;
    void *mean, *var;
    int64_t* batches;
    std::vector<char> before;  // the means, then the variances
};

template <class T> bool are_finite(const void* values, int64_t n) {
    const T* const first = static_cast<const T*>(values);
    return std::all_of(first, first + n, [](T value) { return std::isfinite(value); });
}

// Hold running statistics that torch's operator is about to move; None where they are no plain float or double tensors of one size.
nb::object hold(nb::handle mean, nb::handle var, nb::handle batches) {
    nw::View means, variances, counter;
    if (!nw::see(mean, means) || !nw::see(var, variances)) return nb::none();
    Held held = {nw::is_float(means, NW_F64), nw::dense_elements(means), means.data, variances.data, nullptr, {}};
    const int32_t dtype = held.wide ? NW_F64 : NW_F32;
    if (!nw::is_float(means, dtype) || !nw::is_float(variances, dtype)) return nb::none();
    if (held.channels < 1 || nw::dense_elements(variances) != held.channels) return nb::none();
    if (!batches.is_none()) {
        if (nw::see(batches, counter)) held.batches = nw::counter_of(counter);
        if (held.batches == nullptr) return nb::none();
    }
    const size_t bytes = static_cast<size_t>(held.channels) * (held.wide ? sizeof(double) : sizeof(float));
    held.before.resize(2 * bytes);
    memcpy(held.before.data(), held.mean, bytes);
    memcpy(held.before.data() + bytes, held.var, bytes);
    return nb::cast(std::move(held));
}

// Whether the statistics are finite, and so may stay: then the batch is counted, otherwise they become what was held.
bool settle(const Held& held) {
    const auto finite = [&](const void* values) {
        return held.wide ? are_finite<double>(values, held.channels) : are_finite<float>(values, held.channels);
    };
    if (finite(held.mean) && finite(held.var)) {
        if (held.batches) *held.batches += 1;
        return true;
    }
    const size_t bytes = held.before.size() / 2;
    memcpy(held.mean, held.before.data(), bytes);
    memcpy(held.var, held.before.data() + bytes, bytes);
    return false;
}

template <class T> bool is_among(T value, const nw::View& view, int64_t n) {
    const T* const first = static_cast<const T*>(view.data);
    return std::find(first, first + n, value) != first + n;
}

// Whether a value of a plain float or double tensor is zero; None of another.
nb::object has_zero(nb::handle tensor) {
    nw::View view;
    const int64_t n = nw::see(tensor, view) ? nw::dense_elements(view) : -1;
    if (n >= 0 && nw::is_float(view, NW_F32)) return nb::bool_(is_among(0.0f, view, n));
    if (n >= 0 && nw::is_float(view, NW_F64)) return nb::bool_(is_among(0.0, view, n));
    return nb::none();
}

// Whether the kernels can take the tensors beside an input of this dtype; None stands for none.
bool fit(int dtype, int64_t channels, nb::handle weight, nb::handle bias, nb::handle running_mean, nb::handle running_var, nb::handle batches,
         nb::handle skipped) {
    return nw::fit(weight, bias, dtype, channels) && nw::fit(running_mean, running_var, dtype, channels) && nw::may_count(batches) &&
           nw::may_count(skipped);
}

// A block as the tensor of DLPack that it is to be: the structure of that standard, which hands it over with its own deleter.
struct Handed {
    nb::dlpack::dltensor tensor;
    void* context;
    void (*deleter)(Handed*);
    std::vector<int64_t> shape, strides;  // ours alone
};

void give_back(Handed* handed) {
    nw_give_block(handed->tensor.data);
    delete handed;
}

// As a capsule that nobody took goes.
void drop(PyObject* capsule) {
    if (PyCapsule_IsValid(capsule, "dltensor")) give_back(static_cast<Handed*>(PyCapsule_GetPointer(capsule, "dltensor")));
}

// A capsule of DLPack over a block for a tensor of these bytes, strides in elements; None where there is no block.
nb::object block(int64_t bytes, int dtype, std::vector<int64_t> shape, std::vector<int64_t> strides) {
    void* const memory = nw_take_block(bytes);
    if (memory == nullptr) return nb::none();
    constexpr uint8_t FLOAT = 2, BFLOAT = 4;
    constexpr int32_t CPU = 1;
    Handed* const handed = new Handed{{}, nullptr, give_back, std::move(shape), std::move(strides)};
    handed->tensor.data = memory;
    handed->tensor.device = {CPU, 0};
    handed->tensor.ndim = static_cast<int32_t>(handed->shape.size());
    handed->tensor.dtype = {dtype == NW_BF16 ? BFLOAT : FLOAT, static_cast<uint8_t>(dtype == NW_F64 ? 64 : dtype == NW_F32 ? 32 : 16), 1};
    handed->tensor.shape = handed->shape.data();
    handed->tensor.strides = handed->strides.data();
    return nb::steal(PyCapsule_New(handed, "dltensor", drop));
}

// Bytes of blocks: what is kept free at most, once that is set where it is not negative; what is; what is in use.
nb::tuple keep_blocks(int64_t limit) {
    const nw_blocks now = nw_keep_blocks(limit);
    return nb::make_tuple(now.limit, now.free, now.taken);
}

std::string isa() { return kernels->isa; }

// Choose the kernels by name: for tests and measurements.
void use_isa(const std::string& name) {
    const nw_table* table = nw_kernels(name.c_str());
    if (table == nullptr) throw std::invalid_argument("this machine or this build has no kernels for " + name);
    kernels = table;
}

// Set from how many bytes on outputs are written past the caches, and return what it was: for tests and measurements.
int64_t write_past_caches_from(int64_t bytes) {
    const int64_t before = nw_past_caches_from;
    nw_past_caches_from = bytes;
    return before;
}

bool has_isa(const std::string& name) { return nw_kernels(name.c_str()) != nullptr; }

// Where the choice of kernels is kept, for the native binding: what is chosen here holds there.
Address table() { return reinterpret_cast<Address>(&kernels); }

// Threads of a kernel that is called now; 1 where the build has no OpenMP.
int threads() {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

}  // namespace

NB_MODULE(_portable, m) {
    m.doc() = "Kernels for the CPU behind integers; see normwise.kernels.cpu.";
    m.def("norm_forward", &norm_forward);
    m.def("norm_backward", &norm_backward);
    m.def("moments", &moments);
    m.def("dropout", &dropout);
    m.def("keep", &keep);
    m.def("penalty", &penalty);
    m.def("proximal", &proximal);
    nb::class_<Held>(m, "Held").def("settle", &settle);
    m.def("learn", &nw::learn);
    m.def("fit", &fit, nb::arg(), nb::arg(), nb::arg().none(), nb::arg().none(), nb::arg().none(), nb::arg().none(), nb::arg().none(),
          nb::arg().none());
    m.def("has_zero", &has_zero);
    m.def("hold", &hold, nb::arg(), nb::arg(), nb::arg().none());
    m.def("block", &block);
    m.def("keep_blocks", &keep_blocks);
    m.def("isa", &isa);
    m.def("use_isa", &use_isa);
    m.def("has_isa", &has_isa);
    m.def("write_past_caches_from", &write_past_caches_from);
    m.def("table", &table);
    m.def("amd_family", &nw_amd_family);
    m.def("threads", &threads);
    m.attr("ABI_VERSION") = NW_ABI_VERSION;
    m.attr("OPENMP") =
#ifdef _OPENMP
        true;
#else
        false;
#endif
    if (const char* name = std::getenv("NORMWISE_ISA")) use_isa(name);
}
