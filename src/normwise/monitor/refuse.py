"""What cannot be monitored rightly is refused before the first step."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from normwise.errors import ArgumentError, explain

WHO = "Monitor"


def plain_model(model: Any) -> nn.Module:
    """The module that hooks go to: that inside of `DistributedDataParallel`, else the model itself.

    Raises:
        ArgumentError: not a module, or one that hides what happens in it.
    """
    if not isinstance(model, nn.Module):
        must = "`model` must be an nn.Module"
        raise ArgumentError(
            explain(WHO, must, f"a value of type {type(model).__name__}", "give the model first")
        )
    inside = model.module if isinstance(model, DistributedDataParallel) else model
    for name, module in inside.named_modules():
        for known, why, hint in _opaque(module):
            place = f"{known} at {name!r}" if name else known
            raise ArgumentError(explain(WHO, why, place, hint))
    for name, parameter in inside.named_parameters():
        _check_parameter(name, parameter)
    return inside


def plain_optimizer(optimizer: Any, model: nn.Module) -> Optimizer:
    """The optimizer of torch that does the steps, also out of a wrapper that holds it as `optimizer`.

    Raises:
        ArgumentError: no optimizer, or that of another model.
    """
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    if not isinstance(optimizer, Optimizer):
        must = "`optimizer` must be a torch.optim.Optimizer"
        raise ArgumentError(
            explain(
                WHO, must, f"a value of type {type(optimizer).__name__}", "give the one whose step is called"
            )
        )
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not any(id(parameter) in held for parameter in model.parameters()):
        must = "`optimizer` must hold parameters of `model`"
        hint = "make the optimizer of model.parameters() after the model was moved or changed"
        raise ArgumentError(explain(WHO, must, "an optimizer with none of them", hint))
    return optimizer


def not_in_backward() -> None:
    """Raise where an optimizer steps in the middle of a backward pass.

    Raises:
        ArgumentError: it does: gradients of other layers are not there yet, and its own are gone right after.
    """
    if torch._C._current_graph_task_id() != -1:
        raise ArgumentError(_fused("an optimizer that steps during the backward pass"))


def _opaque(module: Any) -> Iterator[tuple[str, str, str]]:
    """Of what hides its forward pass or its weights: its name, what must hold, a hint."""
    compiled = "hooks are ignored once a model is compiled, so it must not be"
    before = "give the model before torch.compile, and monitor an uncompiled run"
    whole = "every process must hold whole weights and gradients"
    if _is(module, "torch._dynamo.eval_frame", "OptimizedModule") or module._compiled_call_impl is not None:
        yield "a compiled module", compiled, before
    if isinstance(module, torch.jit.ScriptModule):
        yield "a scripted module", compiled, "give the module before torch.jit"
    if isinstance(module, DataParallel):
        yield "DataParallel", "one module must see the whole batch", "use DistributedDataParallel"
    if _is(module, "torch.distributed.fsdp", "FullyShardedDataParallel", "FSDPModule"):
        yield "an FSDP module", whole, "monitor a run with DistributedDataParallel, or on one device"


def _check_parameter(name: str, parameter: Any) -> None:
    if is_lazy(parameter):
        hint = "run one batch through the model first"
        raise ArgumentError(
            explain(WHO, "parameters must be there", f"{name!r}, which has no shape yet", hint)
        )
    if _is(parameter, "torch.distributed.tensor", "DTensor"):
        hint = "monitor a run with DistributedDataParallel, or on one device"
        must = "every process must hold whole weights and gradients"
        raise ArgumentError(explain(WHO, must, f"{name!r}, a DTensor", hint))
    if getattr(parameter, "_in_backward_optimizers", None):
        raise ArgumentError(_fused(f"{name!r} with an optimizer of its own"))


def _fused(got: str) -> str:
    must = "gradients must all be there when the optimizer steps"
    return explain(WHO, must, got, "monitor a run that calls optimizer.step() after loss.backward()")


def _is(value: object, home: str, *classes: str) -> bool:
    """Whether a value is of a class of a module that may not be imported; then it cannot be."""
    module = sys.modules.get(home)
    return module is not None and isinstance(value, tuple(getattr(module, name) for name in classes))
