"""Mishkin and Matas's layer-sequential unit-variance initialisation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.hooks import RemovableHandle

from normwise.errors import ArgumentError, explain
from normwise.initialize._layers import WeightedLayer
from normwise.initialize.orthogonal import orthonormal
from normwise.layers.normalized import Normalized

TOLERANCE = 0.1
MAX_PASSES = 10


@torch.no_grad()
def lsuv_(model: nn.Module, layers: Sequence[WeightedLayer], batch: Tensor) -> None:
    """Set orthonormal weights, then divide each by the deviation of its layer's output on `batch`.

    The biases are zero here, so dividing a weight divides the output: each layer is corrected while the
    batch passes, and what it hands on is corrected with it. One pass does what the paper's loop does, a
    second confirms it; where a layer is called more than once, passes repeat until ``|variance − 1| <
    0.1``, ten at most. The batch passes in training mode (batch statistics), without dropout; modes,
    buffers and the global random state are as before afterwards. Layers that the batch does not reach stay
    orthonormal.

    Source: Mishkin & Matas, "All you need is a good init", 2016, algorithm 1.

    Raises:
        ArgumentError: the output of a layer is constant, or not finite, over the whole batch.
    """
    for layer in layers:
        layer.set_weight_(orthonormal(layer))
    with _undisturbed(model, batch):
        for _ in range(MAX_PASSES):
            settled: list[bool] = []
            with ExitStack() as hooks:
                for layer in layers:
                    hooks.callback(_watch(layer, _corrector(layer, settled)).remove)
                model(batch)
            if all(settled):
                return


def _watch(layer: WeightedLayer, correct: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    """Correct what a layer gives; of one with a norm inside what it gives to the norm."""
    if isinstance(layer.module, Normalized):
        return layer.module.norm.register_forward_pre_hook(lambda _, inputs: correct(inputs[0]))
    return layer.module.register_forward_hook(lambda _, __, output: correct(output))


def _corrector(layer: WeightedLayer, settled: list[bool]) -> Callable[[Tensor], Tensor | None]:
    def correct(output: Tensor) -> Tensor | None:
        variance = output.double().var(correction=0).item()
        if not 0 < variance < float("inf"):
            raise ArgumentError(
                explain(
                    "initialize_",
                    f"scheme 'lsuv' needs every layer's output to vary over `batch`; {layer.name!r} does not",
                    f"an output of shape {tuple(output.shape)} with variance {variance:g}",
                    "give a larger batch of real inputs, or use the scheme 'he'",
                )
            )
        settled.append(abs(variance - 1) < TOLERANCE)
        if settled[-1]:
            return None
        layer.multiply_weight_(variance**-0.5)
        corrected: Tensor = output * variance**-0.5
        return corrected

    return correct


@contextmanager
def _undisturbed(model: nn.Module, batch: Tensor) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    devices = [batch.device] if batch.device.type == "cuda" else []
    model.train()
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.eval()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        for module, training in modes:
            module.training = training
        for buffer, value in buffers:
            buffer.copy_(value)
