"""Group normalization."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, explain
from normwise.functional._weighted import weighted_groups
from normwise.functional.finish import check_after, finish
from normwise.geometry import Geometry
from normwise.kernels import cpu
from normwise.kernels.registry import note_aten, requested


def group_norm(
    input: Tensor,
    num_groups: int,
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
    """Normalize each group of channels, in each sample, by its mean and variance; then residual, activation, dropout.

    ``y = dropout(activation((x − μ) / sqrt(σ² + eps) · weight + bias + residual))``, with the biased variance σ².

    Args:
        input: (N, C, *).
        num_groups: a divisor of C.
        weight: (C,) or None for 1.
        bias: (C,) or None for 0.
        eps: added to the variance, under the root.
        sample_weight: (N, *) or (N,), the part that an element has in the statistics, or a mask of booleans: 0 or False
            leaves padding out, whatever it is. It is normalized by the others' statistics.
        residual: of the input's shape, added before the activation.
        activation: one of `ACTIVATION_NAMES`.
        dropout: probability of a zero; the rest is scaled up.
        generator: where dropout's seed is drawn; None for torch's default.
        backend: one of `normwise.kernels.registry.BACKENDS`; None for the one in force.

    Returns:
        The input's shape, dtype and layout. Statistics are float32, float64 for float64 input.

    Raises:
        RuntimeError: no axis of channels, or C is not divisible (torch's own messages).
        ArgumentError: (a ValueError) a batch of one sample has one value a group, or weights of another shape.

    Source: Wu & He 2018, equations 1 to 7.

    >>> import torch
    >>> group_norm(torch.tensor([[1.0, 3.0, 10.0, 30.0]]), 2, eps=1e-12)
    tensor([[-1.,  1., -1.,  1.]])
    """
    # Cheap first: only an input as small as its groups is looked at closely.
    if input.dim() < 2:
        return nn.functional.group_norm(input, num_groups)  # refuses, in torch's words
    if input.numel() <= num_groups:
        geometry = Geometry.group(input.shape, num_groups)
        if geometry.count == 1 and geometry.samples == 1:
            raise ArgumentError(
                explain(
                    "GroupNorm",
                    "Expected more than 1 value per channel when training",
                    f"input size {tuple(input.shape)} and {num_groups} groups",
                    "a single value has no variance; use fewer groups",
                )
            )
    if residual is not None or activation != "none":
        check_after(input, residual, activation)
    if sample_weight is not None and num_groups > 0 and input.shape[1] % num_groups == 0:
        weighted = weighted_groups("GroupNorm", input, num_groups, sample_weight, weight, bias, eps)
        return finish(weighted, residual, activation, dropout, dropout > 0.0, generator=generator)
    backend = requested(backend)
    # Torch refuses other shapes, in its words.
    if backend != "aten" and num_groups > 0 and input.shape[1] % num_groups == 0:
        output = cpu.attempt_normalize(
            "group_norm",
            backend,
            cpu.GROUP,
            input,
            weight,
            bias,
            residual,
            groups=num_groups,
            eps=eps,
            activation=activation,
            rate=dropout,
            generator=generator,
        )
        if output is not None:
            return output
    else:
        note_aten("group_norm", input.shape)
    output = torch.group_norm(input, num_groups, weight, bias, eps)
    return finish(output, residual, activation, dropout, dropout > 0.0, generator=generator)
