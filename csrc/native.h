// What both nodes of the native binding need: the kernels, the gate, memory, seeds.
//
// The headers are torch's smallest that do: `torch/extension.h` alone would double the time to compile.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/core/DistributionsHelper.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/Generator.h>
#include <torch/csrc/autograd/forward_grad.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/autograd/saved_variable.h>

#include <cmath>
#include <mutex>
#include <new>
#include <optional>

#include "abi.h"
#include "blocks.h"

namespace nw {

using at::Tensor;
using torch::autograd::Node;
using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

// Calls shorter than this keep the interpreter's lock: giving it away costs more than they take.
constexpr int64_t LONG_CALL = 16384;

// Where the portable binding keeps its choice of kernels, so that both always run the same ones.
inline const nw_table* const* kernels = nullptr;

// Gives the interpreter's lock away, where asked, for as long as it lives.
class Unlocked {
public:
    explicit Unlocked(bool asked) : state_(asked ? PyEval_SaveThread() : nullptr) {}
    ~Unlocked() {
        if (state_) PyEval_RestoreThread(state_);
    }
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;

private:
    PyThreadState* state_;
};

template <class Call> void run(int32_t (*kernel)(const Call*), const Call& call) {
    at::internal::lazy_init_num_threads();  // a new thread takes over torch's number of threads
    if (kernel(&call)) throw std::bad_alloc();
}

// ---- the gate ------------------------------------------------------------------------------------------------------------------

// Whether no transform of the program is active: torch.func, forward-mode derivatives, dispatch modes, jit tracing.
inline bool nothing_transforms() {
    // Each but forward-mode derivatives shows in what a thread includes in its dispatch; what may be there is the default, and
    // autocast, which casts nothing here.
    const c10::DispatchKeySet harmless = c10::default_included_set | c10::autocast_dispatch_keyset;
    if (!(c10::impl::tls_local_dispatch_key_set().included_ - harmless).empty()) return false;
    return !torch::autograd::ForwardADLevel::try_get_by_idx(0);
}

// Whether the values lie at the tensor's address: a dense tensor on the CPU that stands for nothing else.
inline bool is_plain(const Tensor& tensor) {
    // The keys of such a tensor; made once, of one outside and one inside of inference mode.
    static const c10::DispatchKeySet usual = [] {
        c10::InferenceMode guard(false);
        return Tensor(at::detail::empty_cpu({0}, at::kFloat)).key_set();
    }();
    static const c10::DispatchKeySet inference = [] {
        c10::InferenceMode guard(true);
        return Tensor(at::detail::empty_cpu({0}, at::kFloat)).key_set();
    }();
    const c10::DispatchKeySet keys = tensor.key_set();
    return keys == usual || keys == inference;
}

// The tensor behind a Python object, undefined for None; nothing where a kernel must not look at it.
inline std::optional<Tensor> unpacked(PyObject* object) {
    if (object == Py_None) return Tensor();
    if (!THPVariable_CheckExact(object)) return std::nullopt;
    const Tensor& tensor = THPVariable_Unpack(object);
    if (!is_plain(tensor)) return std::nullopt;
    return tensor;
}

inline std::optional<nw_dtype> dtype_of(at::ScalarType type) {
    switch (type) {
        case at::kFloat: return NW_F32;
        case at::kDouble: return NW_F64;
        case at::kBFloat16: return NW_BF16;
        case at::kHalf: return NW_F16;
        default: return std::nullopt;
    }
}

// ---- memory --------------------------------------------------------------------------------------------------------------------

inline void* address(const Tensor& tensor) { return tensor.defined() ? tensor.data_ptr() : nullptr; }

inline void give_block(void* block) { (*kernels)->give_block(block); }

// Blocks of blocks.h, and torch's own memory for what is not large.
struct Blocks final : c10::Allocator {
    at::DataPtr allocate(size_t bytes) override {
        void* const block = (*kernels)->take_block(static_cast<int64_t>(bytes));
        return block ? at::DataPtr(block, block, &give_block, at::kCPU) : c10::GetCPUAllocator()->allocate(bytes);
    }
    void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }
};

// Uninitialized, straight from an allocator: the gate has made sure that nobody listens to the dispatcher.
inline Tensor fresh(at::IntArrayRef sizes, at::IntArrayRef strides, at::ScalarType dtype) {
    if (c10::multiply_integers(sizes) * static_cast<int64_t>(c10::elementSize(dtype)) < NW_LARGE)
        return at::detail::empty_strided_cpu(sizes, strides, dtype);
    static Blocks* const blocks = new Blocks;  // for as long as the process runs
    constexpr c10::DispatchKeySet CPU(c10::DispatchKey::CPU);
    return at::detail::empty_strided_generic(sizes, strides, blocks, CPU, dtype);
}
inline Tensor fresh_like(const Tensor& x) { return fresh(x.sizes(), x.strides(), x.scalar_type()); }

// Whether two tensors of one shape lie alike; the stride of an axis of length one means nothing.
inline bool lie_alike(const Tensor& a, at::IntArrayRef sizes, at::IntArrayRef strides) {
    if (a.sizes() != sizes) return false;
    for (size_t i = 0; i < sizes.size(); i++)
        if (sizes[i] != 1 && a.strides()[i] != strides[i]) return false;
    return true;
}

// Whether the values lie densely with this axis last, and the others in their order.
inline bool lies_channels_last(const Tensor& x, int64_t axis) {
    const auto sizes = x.sizes(), strides = x.strides();
    if (axis >= x.dim()) return false;
    int64_t expected = sizes[axis];
    if (sizes[axis] != 1 && strides[axis] != 1) return false;
    for (int64_t i = x.dim() - 1; i >= 0; i--) {
        if (i == axis) continue;
        if (sizes[i] != 1 && strides[i] != expected) return false;
        expected *= sizes[i];
    }
    return true;
}

// The tensor as x lies, copied only where it lies otherwise; differentiable.
inline Tensor like(const Tensor& tensor, const Tensor& x) {
    if (lie_alike(tensor, x.sizes(), x.strides())) return tensor;
    return fresh_like(x).copy_(tensor);
}

// Whether this handle is all that knows of the tensor's values, so that they may be written over: no other tensor or view, no
// Python object that could come back to life, no memory of somebody else's (NumPy, a mapped file, copy on write).
inline bool is_ours_alone(const Tensor& tensor) {
    c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
    if (tensor.use_count() != 1 || tensor.weak_use_count() != 1 || tensor.requires_grad()) return false;
    if (impl->pyobj_slot()->load_pyobj() != nullptr) return false;
    const c10::Storage& storage = tensor.storage();
    const auto deleter = storage.data_ptr().get_deleter();
    return storage.use_count() == 1 && (deleter == c10::GetCPUAllocator()->raw_deleter() || deleter == &give_block);
}

// A writer that goes by the address must tell autograd.
inline void bump(const Tensor& tensor) {
    if (tensor.defined() && !tensor.is_inference()) tensor.unsafeGetTensorImpl()->bump_version();
}

// The number of in-place operations that the tensor has seen; -1 where none is kept.
inline int64_t version_of(const Tensor& tensor) {
    return tensor.defined() && !tensor.is_inference() ? static_cast<int64_t>(tensor._version()) : -1;
}

// ---- dropout -------------------------------------------------------------------------------------------------------------------

typedef c10::SmallVector<uint64_t, 2> Seeds;

// A seed for each model: the numbers that `torch.empty(models, dtype=torch.int64).random_(generator=generator)` holds.
inline Seeds draw_seeds(int64_t models, PyObject* generator) {
    auto* source = at::check_generator<at::CPUGeneratorImpl>(
        generator == Py_None ? at::detail::getDefaultCPUGenerator() : reinterpret_cast<THPGenerator*>(generator)->cdata);
    const std::lock_guard<std::mutex> lock(source->mutex_);
    at::uniform_int_distribution<int64_t> number;
    Seeds seeds(static_cast<size_t>(models));
    for (uint64_t& seed : seeds) seed = static_cast<uint64_t>(number(source));
    return seeds;
}

// Of 65536: an element is dropped where its sixteen random bits are below.
inline uint32_t threshold_of(double rate) { return static_cast<uint32_t>(std::min(std::nearbyint(rate * 65536), 65535.0)); }

// What a kept element is multiplied by: exactly the inverse of the probability to be kept.
inline double scale_of(uint32_t threshold) { return 65536.0 / static_cast<double>(65536 - threshold); }

}  // namespace nw
