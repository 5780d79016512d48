// Normalization, residual, activation and dropout as one node of torch's autograd.
#pragma once

#include "native.h"

namespace nw {

// A function of Python: the gradients in torch's operators, for derivatives of derivatives and for transforms.
inline PyObject* formula = nullptr;

// What one call is given besides the sizes; an undefined tensor stands for none.
struct Given {
    Tensor x, weight, bias, residual, running_mean, running_var, batches, skipped, sample_weight;
};

// Where the parts of a call's one buffer begin, in bytes: statistics and affine map, the gate, the keep bits.
struct Parts {
    int64_t gate = 0, keep = 0, end = 0;

    Parts(const nw_norm& call, bool gated, uint32_t threshold) {
        const auto up = [](int64_t bytes) { return (bytes + 63) / 64 * 64; };
        gate = keep = end = up(nw_saved_elements(&call) * (call.dtype == NW_F64 ? 8 : 4));
        if (gated) {
            keep = end = gate + up(nw_gate_bytes(&call));
        } else if (threshold) {
            end = keep + keep_bytes(call);
        }
    }
    // One bit an element, a model's padded to 128, and 16 bytes after the last.
    static int64_t keep_bytes(const nw_norm& call) {
        return call.models * ((call.samples * call.channels * call.positions + 127) / 128 * 16) + 16;
    }
};

// ---- backward ------------------------------------------------------------------------------------------------------------------

struct Normalize final : Node {
    nw_norm call;  // sizes and options; a pass fills in its pointers
    bool gated;
    uint32_t threshold;
    SavedVariable x, residual, sample_weight, buffer;
    // Copies of both are in the buffer; the tensors themselves are for a second derivative alone, and for the gradients' shapes.
    Tensor weight, bias;
    int64_t weight_version, bias_version;

    std::string name() const override { return "NormwiseNormalize"; }

    void release_variables() override {
        const std::lock_guard<std::mutex> lock(mutex_);
        x.reset_data();
        residual.reset_data();
        sample_weight.reset_data();
        buffer.reset_data();
    }

    variable_list apply(variable_list&& given) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        variable_list out(4);
        Tensor dy = std::move(given[0]);
        if (!dy.defined()) return out;
        const Tensor input = x.unpack(), other = residual.unpack(), part = sample_weight.unpack(), kept = buffer.unpack();
        if (at::GradMode::is_enabled() || !nothing_transforms() || !is_plain(dy) || !is_plain(input)) {
            return by_formula(dy, input, other, part, kept);
        }
        dy = like(dy, input);
        nw_norm pass = call;
        pass.x = input.data_ptr();
        pass.residual = address(other);
        pass.sample_weight = static_cast<const float*>(address(part));
        place(pass, kept);
        pass.dy = dy.data_ptr();
        // A kernel reads an element of dy before it writes there, and not again: one of the two may lie over it.
        bool ours = is_ours_alone(dy);
        const auto wanted = [&](size_t i) {
            const bool over = task_should_compute_output(i) && ours;
            if (over) ours = false;
            return over ? dy : task_should_compute_output(i) ? fresh_like(input) : Tensor();
        };
        out[0] = wanted(0);
        out[3] = wanted(3);
        if (weight.defined() && task_should_compute_output(1)) out[1] = fresh_like(weight);
        if (bias.defined() && task_should_compute_output(2)) out[2] = fresh_like(bias);
        pass.dx = address(out[0]);
        pass.dweight = address(out[1]);
        pass.dbias = address(out[2]);
        pass.dresidual = address(out[3]);
        run((*kernels)->norm_backward, pass);
        return out;
    }

    // Point a call at the parts of its buffer.
    void place(nw_norm& pass, const Tensor& memory) const {
        const Parts parts(call, gated, threshold);
        char* bytes = static_cast<char*>(memory.data_ptr());
        pass.saved = bytes;
        pass.gate = gated ? reinterpret_cast<uint16_t*>(bytes + parts.gate) : nullptr;
        pass.keep = threshold && !gated ? reinterpret_cast<uint8_t*>(bytes + parts.keep) : nullptr;
    }

    variable_list by_formula(const Tensor& dy, const Tensor& input, const Tensor& other, const Tensor& part, const Tensor& kept) {
        TORCH_CHECK(version_of(weight) == weight_version && version_of(bias) == bias_version,
                    "one of the variables needed for gradient computation has been modified by an inplace operation: weight or bias "
                    "of a normalization whose gradient is to be differentiated");
        const pybind11::gil_scoped_acquire locked;
        const auto object = [](const Tensor& tensor) { return pybind11::reinterpret_steal<pybind11::object>(THPVariable_Wrap(tensor)); };
        const auto yes = [&](size_t i) { return task_should_compute_output(i); };
        const auto sizes = pybind11::make_tuple(call.family, call.dtype, call.parameter_dtype, call.samples, call.channels, call.positions,
                                                call.layout, call.groups, call.models, bool(call.centred), bool(call.batch_statistics),
                                                call.eps, call.activation, threshold, gated);
        const pybind11::tuple gradients =
            pybind11::handle(formula)(sizes, object(dy), object(input), object(weight), object(bias), object(other), object(kept),
                                      object(part), pybind11::make_tuple(yes(0), yes(1), yes(2), yes(3)));
        variable_list out(4);
        for (size_t i = 0; i < 4; i++)
            if (!gradients[i].is_none()) out[i] = THPVariable_Unpack(gradients[i].ptr());
        return out;
    }
};

// ---- forward -------------------------------------------------------------------------------------------------------------------

inline Tensor normalized(nw_norm call, const Given& given, uint32_t threshold, const Seeds& seeds) {
    using torch::autograd::collect_next_edges;
    const Tensor& x = given.x;
    const bool gated = given.residual.defined() && call.activation == NW_RELU;
    const bool records = torch::autograd::compute_requires_grad(x, given.weight, given.bias, given.residual);
    const Parts parts(call, gated, threshold);
    const Tensor y = fresh_like(x);
    const Tensor buffer = at::detail::empty_cpu({parts.end}, at::kByte);
    char* bytes = static_cast<char*>(buffer.data_ptr());

    const uint8_t* keep = nullptr;
    Tensor bits;  // the gate takes them up: they are not kept beside it
    if (threshold) {
        nw_dropout draw = {};
        draw.models = call.models;
        draw.elements = call.samples * call.channels * call.positions;
        draw.seeds = seeds.data();
        draw.threshold = threshold;
        draw.keep_scale = 1;
        if (gated) bits = at::detail::empty_cpu({Parts::keep_bytes(call)}, at::kByte);
        draw.keep = static_cast<uint8_t*>(gated ? bits.data_ptr() : bytes + parts.keep);
        run((*kernels)->keep, draw);
        call.keep_scale = scale_of(threshold);
        keep = draw.keep;
    }
    nw_norm pass = call;
    pass.x = x.data_ptr();
    pass.residual = address(given.residual);
    pass.sample_weight = static_cast<const float*>(address(given.sample_weight));
    pass.weight = address(given.weight);
    pass.bias = address(given.bias);
    pass.running_mean = address(given.running_mean);
    pass.running_var = address(given.running_var);
    pass.batches = static_cast<int64_t*>(address(given.batches));
    pass.skipped = static_cast<int64_t*>(address(given.skipped));
    pass.saved = bytes;
    pass.gate = gated ? reinterpret_cast<uint16_t*>(bytes + parts.gate) : nullptr;
    pass.keep = keep;
    pass.y = y.data_ptr();
    run((*kernels)->norm_forward, pass);
    if (call.batch_statistics) {
        bump(given.running_mean);
        bump(given.running_var);
        bump(given.batches);
        bump(given.skipped);
    }
    if (!records) return y;

    auto node = c10::make_intrusive<Normalize>();
    node->set_next_edges(collect_next_edges(x, given.weight, given.bias, given.residual));
    node->call = call;
    node->gated = gated;
    node->threshold = threshold;
    node->x = SavedVariable(x, false);
    if (!gated && call.activation != NW_NONE) node->residual = SavedVariable(given.residual, false);
    node->sample_weight = SavedVariable(given.sample_weight, false);
    node->buffer = SavedVariable(buffer, false);
    node->weight = given.weight;
    node->bias = given.bias;
    node->weight_version = version_of(given.weight);
    node->bias_version = version_of(given.bias);
    torch::autograd::set_history(y, node);
    return y;
}

// Sizes and layout of x = (N, C, *), of (K, N, C, *) where it is stacked, or of (*, normalized) with `trailing` axes normalized;
// x is copied where it lies otherwise. False where the axes do not fit.
inline bool measure(nw_norm& call, Tensor& x, int64_t trailing, bool stacked) {
    call.models = 1;
    if (trailing) {
        if (trailing > x.dim()) return false;
        if (!x.is_contiguous()) x = x.contiguous();
        call.channels = c10::multiply_integers(x.sizes().slice(x.dim() - trailing));
        call.samples = x.numel() / call.channels;
        call.positions = 1;
        call.layout = NW_LAST;
        return true;
    }
    const int64_t axis = stacked ? 2 : 1;
    if (x.dim() <= axis) return false;
    if (stacked) call.models = x.size(0);
    call.samples = x.size(axis - 1);
    call.channels = x.size(axis);
    call.positions = c10::multiply_integers(x.sizes().slice(axis + 1));
    if (!x.is_contiguous()) {
        if (lies_channels_last(x, axis)) {
            call.layout = NW_LAST;
            return true;
        }
        x = x.contiguous();
    }
    call.layout = call.positions == 1 ? NW_LAST : NW_FIRST;
    return true;
}

// The dtype of two tensors with a value for each channel, x's where there are none: x's, or float for a narrow x.
inline std::optional<nw_dtype> dtype_of_channels(const nw_norm& call, const Tensor& x, const Tensor& first, const Tensor& second) {
    const Tensor& given = first.defined() ? first : second;
    const at::ScalarType found = given.defined() ? given.scalar_type() : x.scalar_type();
    for (const Tensor* tensor : {&first, &second}) {
        if (!tensor->defined()) continue;
        if (tensor->scalar_type() != found || !tensor->is_contiguous() || tensor->numel() != call.models * call.channels) return {};
    }
    const bool narrow = call.dtype == NW_BF16 || call.dtype == NW_F16;
    if (found != x.scalar_type() && !(narrow && found == at::kFloat)) return {};
    return dtype_of(found);
}

// normalize(family, x, weight, bias, residual, groups, trailing, stacked, batch_statistics, centred, eps, momentum, running_mean,
// running_var, batches, sample_weight, activation, rate, generator, skipped, biased), or None where the gate is shut.
inline PyObject* normalize(PyObject*, PyObject* const* given, Py_ssize_t count) {
    HANDLE_TH_ERRORS
    TORCH_CHECK_TYPE(count == 21, "normalize takes 21 arguments, not ", count);
    if (!nothing_transforms()) Py_RETURN_NONE;
    Given tensors;
    const std::pair<int, Tensor*> places[] = {{1, &tensors.x},
                                              {2, &tensors.weight},
                                              {3, &tensors.bias},
                                              {4, &tensors.residual},
                                              {12, &tensors.running_mean},
                                              {13, &tensors.running_var},
                                              {14, &tensors.batches},
                                              {15, &tensors.sample_weight},
                                              {19, &tensors.skipped}};
    for (const auto& [place, tensor] : places) {
        std::optional<Tensor> found = unpacked(given[place]);
        if (!found) Py_RETURN_NONE;
        *tensor = std::move(*found);
    }
    Tensor& x = tensors.x;
    if (!x.defined() || x.numel() == 0) Py_RETURN_NONE;
    const std::optional<nw_dtype> dtype = dtype_of(x.scalar_type());
    if (!dtype) Py_RETURN_NONE;

    nw_norm call = {};
    call.family = static_cast<int32_t>(PyLong_AsLong(given[0]));
    call.dtype = *dtype;
    call.groups = PyLong_AsLongLong(given[5]);
    const int64_t trailing = PyLong_AsLongLong(given[6]);
    const bool stacked = given[7] == Py_True;
    call.batch_statistics = given[8] == Py_True;
    call.centred = given[9] == Py_True;
    call.biased = given[20] == Py_True;
    call.eps = PyFloat_AsDouble(given[10]);
    call.momentum = PyFloat_AsDouble(given[11]);
    call.activation = static_cast<int32_t>(PyLong_AsLong(given[16]));
    const double rate = PyFloat_AsDouble(given[17]);
    call.keep_scale = 1;
    if (PyErr_Occurred()) return nullptr;
    if (rate >= 1 || !measure(call, x, trailing, stacked)) Py_RETURN_NONE;
    if (call.family == NW_ACROSS) call.groups = call.channels;
    if (call.groups < 1 || call.channels % call.groups) Py_RETURN_NONE;

    const std::optional<nw_dtype> affine = dtype_of_channels(call, x, tensors.weight, tensors.bias);
    const std::optional<nw_dtype> running = dtype_of_channels(call, x, tensors.running_mean, tensors.running_var);
    if (!affine || !running) Py_RETURN_NONE;
    call.parameter_dtype = *affine;
    call.running_dtype = *running;
    for (const Tensor* counter : {&tensors.batches, &tensors.skipped}) {
        if (counter->defined() && (counter->scalar_type() != at::kLong || counter->numel() != 1)) Py_RETURN_NONE;
    }
    const Tensor& part = tensors.sample_weight;
    if (part.defined() && (part.scalar_type() != at::kFloat || !part.is_contiguous() || part.numel() != call.samples * call.positions)) {
        Py_RETURN_NONE;
    }
    if (tensors.residual.defined()) {
        if (tensors.residual.scalar_type() != x.scalar_type() || tensors.residual.sizes() != x.sizes()) Py_RETURN_NONE;
        tensors.residual = like(tensors.residual, x);
    }
    if (!call.batch_statistics && call.family == NW_ACROSS && !(tensors.running_mean.defined() && tensors.running_var.defined())) {
        Py_RETURN_NONE;
    }

    const uint32_t threshold = threshold_of(rate);
    const Seeds seeds = threshold ? draw_seeds(call.models, given[18]) : Seeds();
    Tensor y;
    {
        const Unlocked unlocked(x.numel() >= LONG_CALL);
        y = normalized(call, tensors, threshold, seeds);
    }
    return THPVariable_Wrap(std::move(y));
    END_HANDLE_TH_ERRORS
}

}  // namespace nw
