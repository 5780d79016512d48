// Dropout as a node of torch's autograd: the mask is computed from the seeds in both passes, and nothing else is kept.
#pragma once

#include <torch/csrc/autograd/VariableTypeUtils.h>

#include "native.h"

namespace nw {

struct DropoutMask {
    Seeds seeds;
    uint32_t threshold;

    void apply(const Tensor& x, const Tensor& y) const {
        nw_dropout call = {};
        call.dtype = *dtype_of(x.scalar_type());
        call.models = static_cast<int64_t>(seeds.size());
        call.elements = x.numel() / call.models;
        call.seeds = seeds.data();
        call.threshold = threshold;
        call.keep_scale = scale_of(threshold);
        call.x = x.data_ptr();
        call.y = y.data_ptr();
        run((*kernels)->dropout, call);
    }
};

Tensor dropped(const Tensor& x, DropoutMask mask, bool inplace);

// The map is linear and its own transpose: its gradient is dropout of the gradient, and so on.
struct Dropout final : Node {
    DropoutMask mask;
    at::DimVector sizes, strides;  // the mask counts elements as they lie in memory

    std::string name() const override { return "NormwiseDropout"; }

    variable_list apply(variable_list&& given) override {
        variable_list out(1);
        Tensor dy = std::move(given[0]);
        if (!dy.defined() || !task_should_compute_output(0)) return out;
        if (!nothing_transforms() || !is_plain(dy)) {  // a transform of the backward pass: the mask as a tensor
            const Tensor factors = fresh(sizes, strides, dy.scalar_type());
            factors.fill_(1);
            mask.apply(factors, factors);
            out[0] = dy.mul(factors);
            return out;
        }
        if (!lie_alike(dy, sizes, strides)) {
            dy = fresh(sizes, strides, dy.scalar_type()).copy_(dy);
        }
        if (at::GradMode::is_enabled()) {
            out[0] = dropped(dy, mask, false);
            return out;
        }
        const Tensor dx = is_ours_alone(dy) ? dy : fresh_like(dy);
        mask.apply(dy, dx);
        out[0] = dx;
        return out;
    }
};

// The elements that the mask keeps, scaled; with a node where a gradient is asked for.
inline Tensor dropped(const Tensor& x, DropoutMask mask, bool inplace) {
    const bool records = at::GradMode::is_enabled() && x.requires_grad();
    c10::intrusive_ptr<Dropout> node;
    if (inplace) torch::autograd::check_inplace(x, records);
    if (records) {
        node = c10::make_intrusive<Dropout>();
        node->set_next_edges(torch::autograd::collect_next_edges(x));
        node->mask = mask;
        node->sizes = x.sizes();
        node->strides = x.strides();
    }
    Tensor y = inplace ? x : fresh_like(x);
    mask.apply(x, y);
    if (inplace) {
        bump(y);
        if (node) torch::autograd::rebase_history(y, std::move(node));
    } else if (node) {
        torch::autograd::set_history(y, node);
    }
    return y;
}

// dropout(x, rate, inplace, models, generator), or None where the gate is shut.
inline PyObject* dropout(PyObject*, PyObject* const* given, Py_ssize_t count) {
    HANDLE_TH_ERRORS
    TORCH_CHECK_TYPE(count == 5, "dropout takes 5 arguments, not ", count);
    const std::optional<Tensor> x = unpacked(given[0]);
    if (!x || !x->defined() || !nothing_transforms() || !dtype_of(x->scalar_type()) || x->numel() == 0) Py_RETURN_NONE;
    // The kernel goes through memory from the first element to the last; models lie one after another in both layouts.
    if (!x->is_contiguous() && !lies_channels_last(*x, 1)) Py_RETURN_NONE;
    const bool inplace = given[2] == Py_True;
    const int64_t models = PyLong_AsLongLong(given[3]);
    if (models < 1 || x->numel() % models) Py_RETURN_NONE;
    const DropoutMask mask = {draw_seeds(models, given[4]), threshold_of(PyFloat_AsDouble(given[1]))};
    if (PyErr_Occurred()) return nullptr;
    Tensor y;
    {
        const Unlocked unlocked(x->numel() >= LONG_CALL);
        y = dropped(*x, mask, inplace);
    }
    return THPVariable_Wrap(std::move(y));
    END_HANDLE_TH_ERRORS
}

}  // namespace nw
