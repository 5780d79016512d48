// The native binding: the kernels under autograd nodes in C++, built against the torch that is installed.
//
// A call that it does not take gives None, and `normwise.kernels.cpu` finds out why. In the backward pass it writes the gradient of
// the input over the incoming one where nobody else holds that; only here can one know.
#include "native_dropout.h"
#include "native_linear.h"
#include "native_normalize.h"
#include "native_weight_norm.h"

namespace {

// connect(address of the portable binding's choice of kernels, the formula in Python, least multiply-adds and axis for oneDNN)
void connect(uintptr_t chosen, pybind11::object formula, int64_t products, int64_t axis) {
    nw::kernels = reinterpret_cast<const nw_table* const*>(chosen);
    nw::formula = formula.release().ptr();  // for as long as the process runs
    nw::least_for_onednn = products;
    nw::least_axis_for_onednn = axis;
}

template <PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t)> constexpr PyCFunction fast() {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef methods[] = {
    {"normalize", fast<nw::normalize>(), METH_FASTCALL, nullptr},
    {"dropout", fast<nw::dropout>(), METH_FASTCALL, nullptr},
    {"linear", fast<nw::linear>(), METH_FASTCALL, nullptr},
    {"weight_norm", fast<nw::weight_norm>(), METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
    m.doc() = "Kernels for the CPU under autograd nodes; see normwise.kernels.cpu.";
    m.def("connect", &connect);
    m.attr("ABI_VERSION") = NW_ABI_VERSION;
    if (PyModule_AddFunctions(m.ptr(), methods) != 0) throw pybind11::error_already_set();
}
