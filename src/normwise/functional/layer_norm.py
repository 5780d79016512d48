"""Layer normalization, over the trailing axes or over the channels of channels-first input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.compiler import is_compiling

from normwise.functional._channels import check_channels
from normwise.functional._weighted import weighted_trailing
from normwise.functional.finish import check_after, finish
from normwise.kernels import aten, cpu
from normwise.kernels.registry import note_aten, requested


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    sample_weight: Tensor | None = None,
    residual: Tensor | None = None,
    activation: str = "none",
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
    backend: str | None = None,
) -> Tensor:
    """Normalize the trailing axes by their mean and variance; then residual, activation, dropout.

    ``y = dropout(activation((x − μ) / sqrt(σ² + eps) · weight + bias + residual))``, with the biased variance σ².

    Args:
        input: (*, *normalized_shape).
        normalized_shape: the trailing axes.
        weight: `normalized_shape`, or None for 1.
        bias: `normalized_shape`, or None for 0.
        eps: added to the variance, under the root.
        sample_weight: of the input's shape, or such that it broadcasts to it, (N, L, 1) for (N, L, C) with L and C
            normalized: the part that an element has in the statistics, or a mask of booleans. 0 or False leaves
            padding out, whatever it is. It is normalized by the others' statistics.
        residual: of the input's shape, added before the activation.
        activation: one of `ACTIVATION_NAMES`.
        dropout: probability of a zero; the rest is scaled up.
        generator: where dropout's seed is drawn; None for torch's default.
        backend: one of `normwise.kernels.registry.BACKENDS`; None for the one in force.

    Returns:
        The input's shape and dtype, contiguous. Statistics are float32, float64 for float64 input.

    Raises:
        RuntimeError: the input does not end in `normalized_shape` (torch's own message).
        ArgumentError: (a ValueError) weights that do not broadcast to the input.

    Source: Ba, Kiros & Hinton 2016, equations 3 and 4.

    >>> import torch
    >>> layer_norm(torch.tensor([[1.0, 3.0]]), (2,), eps=1e-12)
    tensor([[-1.,  1.]])
    """
    normalized = tuple(normalized_shape)
    if residual is not None or activation != "none":
        check_after(input, residual, activation)
    if sample_weight is not None and normalized and input.shape[-len(normalized) :] == normalized:
        weighted = weighted_trailing("LayerNorm", input, len(normalized), sample_weight, weight, bias, eps)
        return finish(weighted, residual, activation, dropout, dropout > 0.0, generator=generator)
    compiled = is_compiling()
    backend = "aten" if compiled and backend is None else requested(backend, compiled)
    bare = residual is None and activation == "none" and not dropout
    if bare and (compiled or cpu.is_left_to_torch("layer_norm", backend, input)):
        return torch.layer_norm(input, normalized, weight, bias, eps)
    # Torch refuses other shapes, in its words.
    if backend != "aten" and normalized and input.shape[-len(normalized) :] == normalized:
        output = cpu.attempt_normalize(
            "layer_norm",
            backend,
            cpu.LAYER,
            input,
            weight,
            bias,
            residual,
            trailing=len(normalized),
            eps=eps,
            activation=activation,
            rate=dropout,
            generator=generator,
        )
        if output is not None:
            return output
    else:
        note_aten("layer_norm", input.shape)
    output = torch.layer_norm(input, normalized, weight, bias, eps)
    return finish(output, residual, activation, dropout, dropout > 0.0, generator=generator)


def layer_norm_over_channels(
    input: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    num_channels: int | None = None,
    residual: Tensor | None = None,
    activation: str = "none",
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
    backend: str | None = None,
) -> Tensor:
    """Normalize axis 1 of channels-first input by its mean and variance, position by position.

    The formula is that of `layer_norm`; weight and bias are (C,).

    Args:
        input: (N, C, *).
        weight: (C,) or None for 1.
        bias: (C,) or None for 0.
        eps: added to the variance, under the root.
        num_channels: C, where no weight tells it.
        residual: of the input's shape, added before the activation.
        activation: one of `ACTIVATION_NAMES`.
        dropout: probability of a zero; the rest is scaled up.
        generator: where dropout's seed is drawn; None for torch's default.
        backend: one of `normwise.kernels.registry.BACKENDS`; None for the one in force.

    Returns:
        The input's shape, dtype and layout. Statistics are float32, float64 for float64 input.

    Raises:
        ArgumentError: (a ValueError) no axis of channels, or weight and channels that differ.

    Source: the LayerNorm of ConvNeXt (Liu et al. 2022).

    >>> import torch
    >>> layer_norm_over_channels(torch.tensor([[[1.0], [3.0]]]), eps=1e-12)
    tensor([[[-1.],
             [ 1.]]])
    """
    check_channels("LayerNorm", input, num_channels if weight is None else weight.shape[0])
    if residual is not None or activation != "none":
        check_after(input, residual, activation)
    backend = requested(backend)
    if backend != "aten":
        output = cpu.attempt_normalize(
            "layer_norm_over_channels",
            backend,
            cpu.LAYER,
            input,
            weight,
            bias,
            residual,
            eps=eps,
            activation=activation,
            rate=dropout,
            generator=generator,
        )
        if output is not None:
            return output
    else:
        note_aten("layer_norm_over_channels", input.shape)
    output = aten.layer_norm_over_channels(input, weight, bias, eps)
    return finish(output, residual, activation, dropout, dropout > 0.0, generator=generator)
