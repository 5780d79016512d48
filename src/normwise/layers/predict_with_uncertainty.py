"""Predictions with the variance that dropout gives them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, explain
from normwise.layers.monte_carlo import monte_carlo


class Prediction(NamedTuple):
    """What a model says of its inputs, and how far it is from agreeing with itself.

    Attributes:
        mean: over the samples; the output's shape.
        variance: over the samples, unbiased; the output's shape, in its unit squared.
    """

    mean: Tensor
    variance: Tensor


@torch.no_grad()
def predict_with_uncertainty(model: nn.Module, *inputs: Any, samples: int = 32) -> Prediction:
    """Mean and variance of a model's output over draws of its dropout, all else in evaluation.

    The forward pass runs `samples` times under `monte_carlo`, without gradients. Mean and variance are updated sample
    by sample (Welford), in float32, float64 for a float64 output, which is the result's dtype: memory does not grow
    with the number of samples. The model's modes are as before afterwards, after an exception, too.

    The variance is what dropout stands for in the approximate posterior; noise in the data is not in it. Of outputs
    that are logits, average probabilities instead: end the model with a softmax.

    Args:
        model: gives a tensor of floating point numbers, of the same shape each time.
        *inputs: of the forward pass.
        samples: number of passes, 2 or more; the standard error of the variance is about ``sqrt(2 / samples)`` of it.

    Raises:
        ArgumentError: (a ValueError) the model has no dropout, its output is no such tensor, or there are less than two
            samples.

    Source: Gal & Ghahramani 2016; Welford 1962.

    >>> model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 1))
    >>> mean, variance = predict_with_uncertainty(model, torch.ones(2, 4), samples=8)
    >>> mean.shape, bool((variance > 0).all())
    (torch.Size([2, 1]), True)
    """
    if samples < 2:
        raise ArgumentError(
            explain("predict_with_uncertainty", "`samples` must be at least 2", f"{samples}", "use 32")
        )
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with monte_carlo(model):
            mean = _checked(model(*inputs))
            squares = torch.zeros_like(mean)
            for count in range(2, samples + 1):
                value = _checked(model(*inputs), mean.shape)
                distance = value - mean
                mean = mean + distance / count
                squares += distance * (value - mean)
    finally:
        for module, training in modes:
            module.training = training
    return Prediction(mean, squares / (samples - 1))


def _checked(output: object, shape: torch.Size | None = None) -> Tensor:
    """The output, wide enough to be added up.

    Raises:
        ArgumentError: (a ValueError) it is no tensor of floating point numbers, or of another shape.
    """
    if not isinstance(output, Tensor) or not output.is_floating_point():
        got = f"a tensor of {output.dtype}" if isinstance(output, Tensor) else type(output).__name__
        hint = "wrap it in a module that returns the one to be predicted"
        raise ArgumentError(
            explain(
                "predict_with_uncertainty",
                "the model must return one tensor of floating point numbers",
                got,
                hint,
            )
        )
    if shape is not None and output.shape != shape:
        raise ArgumentError(
            explain(
                "predict_with_uncertainty",
                "all samples must have the same shape",
                f"{tuple(shape)} and {tuple(output.shape)}",
            )
        )
    return output.float() if output.dtype in (torch.float16, torch.bfloat16) else output
