"""Gradient descent with weight decay apart from the gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT
from torch.optim.sgd import SGD, sgd


class SGDW(SGD):
    """`torch.optim.SGD` whose weight decay is decoupled: ``w ← (1 − lr · weight_decay) · w − lr · d``.

    d is SGD's direction without decay: the gradient, or its momentum. The decay is not in the momentum, nor in the
    gradient's sign under `maximize`, and follows the learning rate of each group and its schedule, as in
    `torch.optim.AdamW`. The paper multiplies by ``1 − η_t · λ`` with the schedule η_t alone: λ = lr · weight_decay of
    the first learning rate. Without momentum the step equals that of SGD with the same `weight_decay`; with it, it
    does not.

    Parameters without a gradient do not decay, as in AdamW; norms and biases are spared by `parameter_groups`.

    Args:
        params: parameters, or groups of them.
        lr: the learning rate, ≥ 0.
        momentum: share of the last direction that is kept.
        dampening: share of the gradient that is left out of the momentum.
        weight_decay: decay per unit of learning rate, ≥ 0; 0.01 as in AdamW, where SGD's is 0.
        nesterov: Nesterov's momentum.
        maximize: ascend.
        foreach, differentiable, fused: as in SGD.

    Its state is SGD's: either loads what the other saved.

    Raises:
        ValueError: from torch, for wrong arguments.

    Source: Loshchilov & Hutter, "Decoupled weight decay regularization", 2019, algorithm 1.

    Example:
        >>> weight = torch.tensor([2.0], requires_grad=True)
        >>> weight.grad = torch.tensor([1.0])
        >>> SGDW([weight], lr=0.1, weight_decay=0.5).step()
        >>> weight.data  # 0.95 · 2 − 0.1
        tensor([1.8000])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float | Tensor = 1e-2,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            momentum,
            dampening,
            weight_decay,
            nesterov,
            maximize=maximize,
            foreach=foreach,
            differentiable=differentiable,
            fused=fused,
        )

    # SGD's own `step` is not called: it may be wrapped already, and would run the hooks of a step a second time.
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do a step.

        Args:
            closure: computes the loss again and returns it; it runs with gradients on.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.set_grad_enabled(bool(self.defaults["differentiable"])):
            for group in self.param_groups:
                self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        params: list[Tensor] = []
        grads: list[Tensor] = []
        buffers: list[Tensor | None] = []
        is_sparse = self._init_group(group, params, grads, buffers)  # type: ignore[no-untyped-call]
        found_inf = getattr(self, "found_inf", None)
        if params and group["weight_decay"] != 0:
            _decay_(params, group, found_inf)
        sgd(
            params,
            grads,
            buffers,
            weight_decay=0.0,
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
            has_sparse_grad=is_sparse,
            foreach=group["foreach"],
            fused=group["fused"],
            grad_scale=getattr(self, "grad_scale", None),
            found_inf=found_inf,
        )
        if group["momentum"] != 0:
            for param, buffer in zip(params, buffers, strict=True):
                self.state[param]["momentum_buffer"] = buffer


def _decay_(params: Iterable[Tensor], group: dict[str, Any], found_inf: Tensor | None) -> None:
    decay = group["lr"] * group["weight_decay"]
    if found_inf is not None:
        # A gradient scaler leaves it to the fused step to do nothing after an overflow; so must the decay.
        decay = decay * (1 - found_inf)
    factor = 1 - decay
    if isinstance(factor, Tensor) or group["foreach"] is False or group["differentiable"]:
        for param in params:
            param.mul_(factor.to(param.device) if isinstance(factor, Tensor) else factor)
    else:
        torch._foreach_mul_(list(params), factor)
