// A linear layer as one node of torch's autograd, with the faster of the two libraries that torch multiplies matrices with.
#pragma once

#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/t.h>

#include <limits>

#include "native.h"

namespace nw {

// Below so many multiply-adds of float32 the BLAS multiplies, from there on oneDNN; connect() sets it, and the shortest axis for it.
inline int64_t least_for_onednn = std::numeric_limits<int64_t>::max();
inline int64_t least_axis_for_onednn = 1;

// oneDNN adds up so many products in one register: longer sums would lose more bits than the BLAS's.
constexpr int64_t LONGEST_SUM = 1024, SUMMED_AT_ONCE = 512;

// left (m, k) times right (k, n) by oneDNN, in whose form right is transposed. Both lie densely, one way or the other.
inline Tensor onednn_product(const Tensor& left, const Tensor& right, const std::optional<Tensor>& bias) {
    typedef Tensor Product(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::string_view,
                           c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);
    static const auto product = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<Product>();
    const c10::List<std::optional<at::Scalar>> none;
    return product.call(left, right.t(), bias, "none", none, "");
}

// left (m, k) times right (k, n), plus a bias of n values where there is one. Nothing is recorded.
inline Tensor product(const Tensor& left, const Tensor& right, const Tensor& bias, bool by_onednn) {
    const std::optional<Tensor> added = bias.defined() ? std::optional<Tensor>(bias) : std::nullopt;
    if (!by_onednn) return added ? at::addmm(bias, left, right) : at::mm(left, right);
    const int64_t terms = left.size(1);
    if (terms <= LONGEST_SUM) return onednn_product(left, right, added);
    // Where neither axis is dense, oneDNN falls back to loops a thousand times slower.
    const auto dense = [](const Tensor& part) { return part.stride(0) == 1 || part.is_contiguous() ? part : part.contiguous(); };
    Tensor total;
    for (int64_t from = 0; from < terms; from += SUMMED_AT_ONCE) {
        const int64_t length = std::min(SUMMED_AT_ONCE, terms - from);
        const Tensor part = onednn_product(dense(left.narrow(1, from, length)), dense(right.narrow(0, from, length)), std::nullopt);
        total = from ? total.add_(part) : added ? part.add_(bias) : part;
    }
    return total;
}

// A tensor as a matrix whose rows are its last axis.
inline Tensor as_rows(const Tensor& tensor) { return tensor.dim() == 2 ? tensor : tensor.reshape({-1, tensor.size(-1)}); }

struct Linear final : Node {
    SavedVariable x, weight;  // each only where the other's gradient is asked for
    at::DimVector sizes;      // of x
    bool by_onednn;

    std::string name() const override { return "NormwiseLinear"; }

    void release_variables() override {
        const std::lock_guard<std::mutex> lock(mutex_);
        x.reset_data();
        weight.reset_data();
    }

    variable_list apply(variable_list&& given) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        variable_list out(3);
        const Tensor& dy = given[0];
        if (!dy.defined()) return out;
        const Tensor input = x.unpack(), w = weight.unpack();
        const auto yes = [&](size_t i) { return task_should_compute_output(i); };
        const bool plain = !at::GradMode::is_enabled() && nothing_transforms() && is_plain(dy) && (!input.defined() || is_plain(input)) &&
                           (!w.defined() || is_plain(w));
        // Otherwise the same products in torch's operators, for derivatives of derivatives and for transforms.
        std::optional<at::AutoDispatchBelowADInplaceOrView> unrecorded;
        if (plain) unrecorded.emplace();
        const bool fast = plain && by_onednn;
        const Tensor rows = as_rows(dy).contiguous();
        if (yes(0)) {
            out[0] = product(rows, w, Tensor(), fast);
            if (sizes.size() != 2) out[0] = out[0].view(sizes);
        }
        if (yes(1)) out[1] = product(rows.t(), as_rows(input), Tensor(), fast);
        if (yes(2)) out[2] = at::sum(rows, {0});
        return out;
    }
};

// linear(x, weight, bias), or None where the gate is shut.
inline PyObject* linear(PyObject*, PyObject* const* given, Py_ssize_t count) {
    HANDLE_TH_ERRORS
    TORCH_CHECK_TYPE(count == 3, "linear takes 3 arguments, not ", count);
    if (!nothing_transforms() || at::autocast::is_autocast_enabled(at::kCPU)) Py_RETURN_NONE;
    Tensor tensors[3];
    for (size_t i = 0; i < 3; i++) {
        std::optional<Tensor> found = unpacked(given[i]);
        if (!found) Py_RETURN_NONE;
        tensors[i] = std::move(*found);
    }
    Tensor &x = tensors[0], &weight = tensors[1], &bias = tensors[2];
    // What does not fit, torch refuses in its words.
    if (!x.defined() || !weight.defined() || x.dim() < 1 || weight.dim() != 2 || x.numel() == 0 || weight.numel() == 0) Py_RETURN_NONE;
    const at::ScalarType dtype = x.scalar_type();
    const int64_t inner = weight.size(1), outer = weight.size(0), samples = x.numel() / x.size(-1);
    if (!dtype_of(dtype) || weight.scalar_type() != dtype || x.size(-1) != inner) Py_RETURN_NONE;
    if (bias.defined() && (bias.scalar_type() != dtype || bias.dim() != 1 || bias.size(0) != outer)) Py_RETURN_NONE;
    x = x.contiguous();
    if (!weight.t().is_contiguous()) weight = weight.contiguous();
    if (bias.defined()) bias = bias.contiguous();
    const bool by_onednn = dtype == at::kFloat && samples * inner * outer >= least_for_onednn &&
                           std::min({samples, inner, outer}) >= least_axis_for_onednn && at::globalContext().userEnabledMkldnn();
    const bool records = torch::autograd::compute_requires_grad(x, weight, bias);
    Tensor y;
    {
        const Unlocked unlocked(x.numel() >= LONG_CALL);
        {
            const at::AutoDispatchBelowADInplaceOrView unrecorded;
            y = product(as_rows(x), weight.t(), bias, by_onednn);
            if (x.dim() != 2) {
                at::DimVector sizes(x.sizes());
                sizes.back() = outer;
                y = y.view(sizes);
            }
        }
        if (records) {
            auto node = c10::make_intrusive<Linear>();
            node->set_next_edges(torch::autograd::collect_next_edges(x, weight, bias));
            if (weight.requires_grad()) node->x = SavedVariable(x, false);
            if (x.requires_grad()) node->weight = SavedVariable(weight, false);
            node->sizes = x.sizes();
            node->by_onednn = by_onednn;
            torch::autograd::set_history(y, node);
        }
    }
    return THPVariable_Wrap(std::move(y));
    END_HANDLE_TH_ERRORS
}

}  // namespace nw
