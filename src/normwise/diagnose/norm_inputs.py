"""What norms get in training mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from normwise.graph.trace import run_on
from normwise.monitor.preserve import preserved


def norm_inputs(model: nn.Module, inputs: Any, names: Iterable[str], *, seed: int = 0) -> dict[str, Tensor]:
    """The input of the first call of each of these norms, in float32; the model is as before afterwards.

    Args:
        model: any module.
        inputs: a batch: a tensor, a tuple of arguments, or a dict.
        names: of the norms; those that are not called are left out.
        seed: of dropout.

    >>> model = nn.Sequential(nn.ReLU(), nn.BatchNorm1d(2))
    >>> norm_inputs(model, torch.tensor([[-1.0, 1.0], [2.0, 3.0]]), ["1"])
    {'1': tensor([[0., 1.],
            [2., 3.]])}
    """
    seen: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: tuple[Any, ...]) -> None:
            if args:
                seen.setdefault(name, args[0].detach().float().clone())

        return note

    handles = [model.get_submodule(name).register_forward_pre_hook(watch(name)) for name in names]
    try:
        with preserved(model, training=True), torch.no_grad():
            torch.manual_seed(seed)
            run_on(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return seen
