// Weight normalization with one length per row, as one node of torch's autograd over torch's fused operator.
#pragma once

#include <ATen/ops/_weight_norm_interface.h>
#include <ATen/ops/_weight_norm_interface_backward.h>
#include <ATen/ops/linalg_vector_norm.h>

#include "native.h"

namespace nw {

struct WeightNorm final : Node {
    SavedVariable gain, direction, norm;

    std::string name() const override { return "NormwiseWeightNorm"; }

    void release_variables() override {
        const std::lock_guard<std::mutex> lock(mutex_);
        gain.reset_data();
        direction.reset_data();
        norm.reset_data();
    }

    // Of gain and direction.
    variable_list apply(variable_list&& given) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        variable_list out(2);
        const Tensor& dw = given[0];
        if (!dw.defined()) return out;
        const Tensor g = gain.unpack(), v = direction.unpack(), length = norm.unpack();
        if (!at::GradMode::is_enabled() && nothing_transforms() && is_plain(dw) && is_plain(g) && is_plain(v)) {
            const at::AutoDispatchBelowADInplaceOrView unrecorded;
            std::tie(out[1], out[0]) = at::_weight_norm_interface_backward(dw.contiguous(), v, g, length, 0);
            return out;
        }
        // The operator's own second derivative takes the lengths for constants.
        at::DimVector axes;
        for (int64_t axis = 1; axis < v.dim(); axis++) axes.push_back(axis);
        Tensor long_or_one = at::linalg_vector_norm(v, 2, axes, true);
        long_or_one = long_or_one.masked_fill(long_or_one.eq(0), 1);
        const Tensor unit = v / long_or_one, along = (dw * unit).sum(axes, true);
        out[0] = along;
        out[1] = g / long_or_one * (dw - unit * along);
        return out;
    }
};

template <class T> inline bool has_zero(const Tensor& values) {
    const T* first = static_cast<const T*>(values.data_ptr());
    return std::find(first, first + values.numel(), T(0)) != first + values.numel();
}

// weight_norm(gain, direction), of the axes behind the first, or None where the gate is shut.
inline PyObject* weight_norm(PyObject*, PyObject* const* given, Py_ssize_t count) {
    HANDLE_TH_ERRORS
    TORCH_CHECK_TYPE(count == 2, "weight_norm takes 2 arguments, not ", count);
    if (!nothing_transforms()) Py_RETURN_NONE;
    const std::optional<Tensor> gain = unpacked(given[0]), direction = unpacked(given[1]);
    if (!gain || !direction || !gain->defined() || !direction->defined()) Py_RETURN_NONE;
    const Tensor &g = *gain, &v = *direction;
    const at::ScalarType dtype = v.scalar_type();
    // The operator reads memory as if rows were contiguous, whatever the strides say.
    if ((dtype != at::kFloat && dtype != at::kDouble) || g.scalar_type() != dtype || v.dim() < 2 || g.dim() != v.dim() ||
        v.numel() == 0 || g.numel() != v.size(0) || g.size(0) != v.size(0) || !v.is_contiguous() || !g.is_contiguous()) {
        Py_RETURN_NONE;
    }
    Tensor weight, norm;
    {
        const Unlocked unlocked(v.numel() >= LONG_CALL);
        {
            const at::AutoDispatchBelowADInplaceOrView unrecorded;
            std::tie(weight, norm) = at::_weight_norm_interface(v, g, 0);
            // 0/0 is NaN. A length of one makes the weight 0, and its gradient can give the row a direction.
            if (dtype == at::kFloat ? has_zero<float>(norm) : has_zero<double>(norm)) {
                norm = norm.masked_fill(norm.eq(0), 1);
                weight = v * (g / norm);
            }
        }
        if (torch::autograd::compute_requires_grad(g, v)) {
            auto node = c10::make_intrusive<WeightNorm>();
            node->set_next_edges(torch::autograd::collect_next_edges(g, v));
            node->gain = SavedVariable(g, false);
            node->direction = SavedVariable(v, false);
            node->norm = SavedVariable(norm, false);
            torch::autograd::set_history(weight, node);
        }
    }
    return THPVariable_Wrap(std::move(weight));
    END_HANDLE_TH_ERRORS
}

}  // namespace nw
