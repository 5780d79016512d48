"""Checks of derivatives in float64: against finite differences, in reverse, twice, and forward."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.autograd.gradcheck import GradcheckError

from normwise.kernels.registry import use_backend
from normwise.testing._backends import runs
from normwise.testing._case import LayerCase, cotangent, require, run
from normwise.testing.tolerance import assert_close

_Function = Callable[..., Tensor]


def gradients(case: LayerCase) -> None:
    """Input and parameters get the gradients of finite differences, in both modes."""
    for training in (True, False):
        function, inputs = _as_function(case, training)
        _refer(gradcheck, function, inputs)
        output = function(*inputs)
        for name, gradient in zip(
            _names(case),
            torch.autograd.grad(output, inputs, torch.ones_like(output), allow_unused=True),
            strict=True,
        ):
            require(gradient is not None, f"{name} gets no gradient (training={training})")


def double_backward(case: LayerCase) -> None:
    """The gradient itself can be differentiated, in both modes."""
    for training in (True, False):
        function, inputs = _as_function(case, training)
        _refer(gradgradcheck, function, inputs)


def forward_mode(case: LayerCase) -> None:
    """Forward-mode derivatives are those of finite differences, in both modes.

    Torch's operators give them, whose dropout masks are not those of normwise's kernels: for the finite differences
    they are asked for; for the derivatives they must be what runs by itself.
    """
    with warnings.catch_warnings():
        # At the first forward-mode derivative torch compiles its rules with a function that it deprecates.
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
        tangents = []
        for training in (True, False):
            function, inputs = _as_function(case, training)
            with use_backend("aten"):
                _refer(gradcheck, function, inputs, check_forward_ad=True, check_backward_ad=False)
                tangents.append(_tangent(function, inputs))
        with runs(case, "forward_mode"):
            ours = [_tangent(*_as_function(case, training)) for training in (True, False)]
    for tangent, expected in zip(ours, tangents, strict=True):
        assert_close(tangent, expected, what="tangent")


def _tangent(function: _Function, inputs: tuple[Tensor, ...]) -> Tensor:
    with forward_ad.dual_level():
        dual: Callable[[Tensor, Tensor], Tensor] = forward_ad.make_dual
        split: Callable[[Tensor], tuple[Tensor, Tensor | None]] = forward_ad.unpack_dual
        _, tangent = split(function(*(dual(value.detach(), cotangent(value)) for value in inputs)))
    if tangent is None:
        raise AssertionError("no tangent reaches the output")
    return tangent


def _names(case: LayerCase) -> list[str]:
    return ["input", *(name for name, _ in case.make().named_parameters())]


def _as_function(case: LayerCase, training: bool) -> tuple[_Function, tuple[Tensor, ...]]:
    layer = case.layer(torch.float64, training=training)
    parameters = dict(layer.named_parameters())

    def function(input: Tensor, *values: Tensor) -> Tensor:
        # Buffers start afresh at each call, by copy, since training moves them: so it is a function.
        state = dict(zip(parameters, values, strict=True))
        state |= {name: buffer.clone() for name, buffer in layer.named_buffers()}
        return run(lambda x: torch.func.functional_call(layer, state, (x,)), input)

    inputs = (case.input(torch.float64), *(value.detach().clone() for value in parameters.values()))
    return function, tuple(value.requires_grad_() for value in inputs)


def _refer(
    check: Callable[..., bool], function: _Function, inputs: tuple[Tensor, ...], **options: bool
) -> None:
    """Run a check of torch's with a fixed random projection; its failure is ours."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        try:
            check(function, inputs, fast_mode=True, **options)
        except GradcheckError as error:
            raise AssertionError(str(error)) from error
