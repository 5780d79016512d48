"""The data-dependent initialisation of weight-normalized layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from normwise.errors import ArgumentError, explain
from normwise.layers.weight_norm import _parametrization


@torch.no_grad()
def initialize_weight_norm_(model: nn.Module, batch: Tensor | tuple[Any, ...]) -> tuple[str, ...]:
    """Set lengths and biases so that weight-normalized layers answer a batch with mean 0, variance 1.

    For each layer that `weight_norm` was applied to, in the order in which the forward pass reaches them and
    on what the already initialised ones before it give: with ``t = v · x / ‖v‖`` over the batch (and
    positions), ``g = 1 / σ[t]`` and ``b = −μ[t] / σ[t]`` per output unit. A unit that answers all samples
    alike keeps ``g = 1``; a layer without bias is only scaled. Directions, running statistics, the random
    state and the training flags stay.

    Args:
        model: any module; it runs once, in the mode in which it is.
        batch: the input, or a tuple of positional inputs.

    Returns:
        The names of the initialised layers, in order.

    Raises:
        ArgumentError: (a ValueError) a layer sees a single value per output unit, which has no spread, or has
            no length per output unit; nothing is changed then.

    Source: Salimans & Kingma 2016, equation 5.

    >>> from normwise.layers import weight_norm
    >>> layer = weight_norm(nn.Linear(4, 3))
    >>> initialize_weight_norm_(nn.Sequential(layer), torch.randn(64, 4))
    ('0',)
    """
    done: list[str] = []
    handles = []
    kept: list[tuple[Tensor, Tensor]] = []
    for name, module in model.named_modules():
        if _parametrization(module, "weight") is not None:
            changed = (module.parametrizations.weight.original0, getattr(module, "bias", None))
            kept += [(p, p.clone()) for p in changed if isinstance(p, Tensor)]
            initialise = _Initialise(name, done)
            handles.append(module.register_forward_pre_hook(initialise.before, with_kwargs=False))
            # First among the hooks: what others see is the initialised layer's output.
            handles.append(module.register_forward_hook(initialise.after, prepend=True))
    try:
        with _untouched(model):
            model(*(batch if isinstance(batch, tuple) else (batch,)))
    except BaseException:
        for parameter, value in kept:
            parameter.copy_(value)
        raise
    finally:
        for handle in handles:
            handle.remove()
    return tuple(done)


class _Initialise:
    """Hooks that initialise a layer at its first call."""

    def __init__(self, name: str, done: list[str]) -> None:
        self.name = name
        self.done = done

    def before(self, module: Any, args: tuple[Any, ...]) -> None:
        if self.name not in self.done:
            module.parametrizations.weight.original0.fill_(1.0)
            if getattr(module, "bias", None) is not None:
                module.bias.zero_()

    def after(self, module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if self.name in self.done:
            return None
        axis = output.dim() - 1 - (len(module.kernel_size) if isinstance(module, _ConvNd) else 0)
        gain = module.parametrizations.weight.original0
        if gain.numel() != output.shape[axis]:
            raise ArgumentError(
                explain(
                    "initialize_weight_norm_",
                    f"layer {self.name!r} must have one length per output unit",
                    f"{gain.numel()} for {output.shape[axis]} units",
                    'let weight_norm find the axis (dim="output")',
                )
            )
        others = tuple(a for a in range(output.dim()) if a != axis)
        count = output.numel() // max(output.shape[axis], 1)
        if count < 2:
            raise ArgumentError(
                explain(
                    "initialize_weight_norm_",
                    f"layer {self.name!r} must see at least 2 values per output unit",
                    f"an output of size {tuple(output.shape)}",
                    "use a larger batch",
                )
            )
        var, mean = torch.var_mean(output, dim=others, correction=0, keepdim=True)
        deviation = var.sqrt()
        # A unit that answers all samples alike has no spread but that of rounding.
        deviation.masked_fill_(deviation <= torch.finfo(output.dtype).eps * mean.abs(), 1.0)
        gain.copy_(deviation.reciprocal().reshape(gain.shape))
        self.done.append(self.name)
        if getattr(module, "bias", None) is None:
            return output / deviation
        module.bias.copy_((-mean / deviation).flatten())
        return (output - mean) / deviation


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Put buffers and random states back afterwards."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    devices = {p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices)):
        try:
            yield
        finally:
            for buffer, kept in buffers:
                buffer.copy_(kept)
