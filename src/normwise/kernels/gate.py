"""Where a kernel may look at values: plain tensors on the CPU, and no transform of the program."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

PLAIN = (Tensor, Parameter)
_is_compiling = torch.compiler.is_compiling
_transform = torch._C._functorch.peek_interpreter_stack
_dispatch_modes = torch._C._len_torch_dispatch_stack
_traced = torch._C._get_tracing_state
_keys = torch._C._dispatch_keys


def _usual_keys() -> frozenset[int]:
    """The dispatch keys of a dense tensor on the CPU, made outside and inside of inference mode."""
    found = []
    for inference in (False, True):
        with torch.inference_mode(inference):
            found.append(_keys(torch.empty(0, device="cpu")).raw_repr())
    return frozenset(found)


_USUAL_KEYS = _usual_keys()


def is_plain_cpu(*tensors: Tensor) -> bool:
    """Whether all tensors are exact tensors or parameters on the CPU and no transform is active.

    A branch on a value breaks compile, export and vmap; fake and meta tensors have no values; some of torch's
    fused operators have no forward-mode derivative; a trace of `torch.jit` would take a result for a constant.

    >>> is_plain_cpu(torch.ones(2)), is_plain_cpu(torch.ones(2, device="meta"))
    (True, False)
    """
    if (
        _is_compiling()
        or _transform() is not None
        or _dispatch_modes()
        or forward_ad._current_level >= 0
        or _traced() is not None
    ):
        return False
    for tensor in tensors:  # noqa: SIM110 - a generator would cost more than all the rest
        if type(tensor) not in PLAIN or not tensor.is_cpu:
            return False
    return True


def stands_for_itself(tensor: Tensor) -> bool:
    """Whether the values lie at the tensor's address: it is dense, not negated lazily, not batched, and has memory.

    >>> stands_for_itself(torch.ones(2)), stands_for_itself(torch.ones(2, dtype=torch.cfloat).conj().imag)
    (True, False)
    """
    return _keys(tensor).raw_repr() in _USUAL_KEYS


def is_plain_gradient(tensor: Tensor) -> bool:
    """Whether a kernel may look at the values of a gradient, where `is_plain_cpu` let the forward pass run.

    Cheaper than to ask again: a transform of the backward pass alone shows in the gradient or in forward-mode levels.

    >>> is_plain_gradient(torch.ones(2)), is_plain_gradient(torch.ones(2, device="meta"))
    (True, False)
    """
    return (
        not _is_compiling()
        and forward_ad._current_level < 0
        and type(tensor) in PLAIN
        and _keys(tensor).raw_repr() in _USUAL_KEYS
    )


def why_shut(*tensors: Tensor) -> str | None:
    """Why `is_plain_cpu` says no, in words; None where it says yes.

    >>> why_shut(torch.ones(2, device="meta"))
    'a tensor is on meta'
    """
    if _is_compiling():
        return "the program is being compiled or exported"
    if _transform() is not None:
        return "a transform of torch.func is active"
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation is active"
    if _dispatch_modes():
        return "a dispatch mode sees every operator (fake tensors, tracing, counting)"
    if _traced() is not None:
        return "torch.jit traces the program"
    for tensor in tensors:
        if type(tensor) not in PLAIN:
            return f"a tensor is a {type(tensor).__qualname__}"
        if not tensor.is_cpu:
            return f"a tensor is on {tensor.device.type}"
    return None
