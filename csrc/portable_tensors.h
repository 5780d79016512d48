// Torch's tensors without torch's headers: DLPack has every library publish a table of functions (version 1, 2025) with which another
// sees where and how a tensor lies, in a few nanoseconds. What Python would ask of each tensor by itself is asked here.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "abi.h"

namespace nw {

typedef nanobind::dlpack::dltensor View;

// The table, as DLPack's header lays it out.
struct Exchange {
    uint32_t major, minor;
    const Exchange* previous;
    void (*allocate)();
    void (*share)();
    void (*wrap)();
    int (*view)(void* object, View* view);  // 0, or an exception is set
    void (*stream)();
};

// Which classes are plain, and how torch describes a tensor.
inline int (*describe)(void*, View*) = nullptr;
inline PyTypeObject *plain_tensor = nullptr, *plain_parameter = nullptr;

// Learn the classes Tensor and Parameter, and the table of the first; false where it publishes none, or none of this version.
inline bool learn(nanobind::handle tensor, nanobind::handle parameter) {
    plain_tensor = reinterpret_cast<PyTypeObject*>(tensor.ptr());
    plain_parameter = reinterpret_cast<PyTypeObject*>(parameter.ptr());
    const nanobind::object capsule = nanobind::getattr(tensor, "__dlpack_c_exchange_api__", nanobind::none());
    const Exchange* table = nullptr;
    if (PyCapsule_IsValid(capsule.ptr(), "dlpack_exchange_api"))
        table = static_cast<const Exchange*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
    while (table != nullptr && table->major > 1) table = table->previous;
    describe = table != nullptr && table->major == 1 ? table->view : nullptr;
    return describe != nullptr;
}

// See an exact tensor or parameter on the CPU; false for anything else.
inline bool see(nanobind::handle object, View& view) {
    const PyTypeObject* const type = Py_TYPE(object.ptr());
    if (describe == nullptr || (type != plain_tensor && type != plain_parameter)) return false;
    if (describe(object.ptr(), &view)) {  // it has no memory, or none that DLPack knows
        PyErr_Clear();
        return false;
    }
    constexpr int32_t CPU = 1;
    return view.device.device_type == CPU && view.byte_offset == 0;
}

inline bool is_float(const View& view, int32_t dtype) {
    constexpr uint8_t FLOAT = 2, BFLOAT = 4;
    return view.dtype.lanes == 1 && view.dtype.code == (dtype == NW_BF16 ? BFLOAT : FLOAT) &&
           view.dtype.bits == (dtype == NW_F64 ? 64 : dtype == NW_F32 ? 32 : 16);
}

// The only number of a counter, or null.
inline int64_t* counter_of(const View& view) {
    constexpr uint8_t INTEGER = 0;
    bool one = view.dtype.code == INTEGER && view.dtype.bits == 64 && view.dtype.lanes == 1;
    for (int32_t axis = 0; axis < view.ndim; axis++) one = one && view.shape[axis] == 1;
    return one ? static_cast<int64_t*>(view.data) : nullptr;
}

// Elements that lie one behind the other; -1 where there are gaps.
inline int64_t dense_elements(const View& view) {
    int64_t elements = 1;
    for (int32_t axis = view.ndim - 1; axis >= 0; axis--) {
        if (view.shape[axis] != 1 && view.strides[axis] != elements) return -1;
        elements *= view.shape[axis];
    }
    return elements;
}

// Whether two tensors with a value for each channel, None for none, have one dtype of those that a kernel takes for x's: x's, or float
// for a narrow x.
inline bool fit(nanobind::handle first, nanobind::handle second, int32_t dtype, int64_t channels) {
    int32_t common = -1;
    for (const nanobind::handle object : {first, second}) {
        if (object.is_none()) continue;
        View view;
        if (!see(object, view) || dense_elements(view) != channels) return false;
        const bool narrow = dtype == NW_BF16 || dtype == NW_F16;
        const int32_t found = is_float(view, dtype) ? dtype : narrow && is_float(view, NW_F32) ? NW_F32 : -1;
        if (found < 0 || (common >= 0 && found != common)) return false;
        common = found;
    }
    return true;
}

// Whether an object is None or a counter.
inline bool may_count(nanobind::handle object) {
    View view;
    return object.is_none() || (see(object, view) && counter_of(view) != nullptr);
}

}  // namespace nw
