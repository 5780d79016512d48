"""Instance normalization."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.functional._weighted import track_weighted_instances, weighted_groups
from normwise.functional.finish import check_after, finish
from normwise.geometry import Geometry
from normwise.kernels import aten, cpu
from normwise.kernels.registry import note_aten, requested


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    num_batches_skipped: Tensor | None = None,
    sample_weight: Tensor | None = None,
    residual: Tensor | None = None,
    activation: str = "none",
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
    backend: str | None = None,
) -> Tensor:
    """Normalize each channel of each sample by its mean and variance; then residual, activation, dropout.

    ``y = dropout(activation((x − μ) / sqrt(σ² + eps) · weight + bias + residual))``, with the biased
    variance σ². Running statistics, if given, move towards the mean over samples of the instances' means and unbiased
    variances.

    Args:
        input: (N, C, *) with at least one axis of positions.
        running_mean: (C,), changed in place when `use_input_stats`; None tracks nothing.
        running_var: (C,), changed in place when `use_input_stats`; None tracks nothing.
        weight: (C,) or None for 1.
        bias: (C,) or None for 0.
        use_input_stats: normalize by the input's statistics; otherwise by the running ones.
        momentum: weight of the new batch.
        eps: added to the variance, under the root.
        num_batches_skipped: a counter without dimensions, raised where the input's statistics are not finite: then the
            running ones stay.
        sample_weight: (N, *) or (N,), the part that an element has in the statistics, or a mask of booleans: 0 or False
            leaves padding out, whatever it is. It is normalized by the others' statistics.
        residual: of the input's shape, added before the activation.
        activation: one of `ACTIVATION_NAMES`.
        dropout: probability of a zero; the rest is scaled up.
        generator: where dropout's seed is drawn; None for torch's default.
        backend: one of `normwise.kernels.registry.BACKENDS`; None for the one in force.

    Returns:
        The input's shape, dtype and layout (torch's own loses channels_last). Statistics are float32, float64
        for float64 input.

    Raises:
        ArgumentError: (a ValueError) a single position, or running statistics that are asked for and missing,
            or weights of another shape.

    Source: Ulyanov, Vedaldi & Lempitsky 2016, equation 5.

    >>> import torch
    >>> instance_norm(torch.tensor([[[1.0, 3.0], [10.0, 30.0]]]), eps=1e-12)
    tensor([[[-1.,  1.],
             [-1.,  1.]]])
    """
    if use_input_stats:
        if Geometry.instance(input.shape).positions == 1:
            raise ArgumentError(
                explain(
                    "InstanceNorm",
                    "Expected more than 1 spatial element when training",
                    f"input size {tuple(input.shape)}",
                    "a single position has no variance; use LayerNorm or GroupNorm there",
                )
            )
    elif running_mean is None or running_var is None:
        raise ArgumentError(
            explain("instance_norm", "use_input_stats=False needs running_mean and running_var", "None")
        )
    if residual is not None or activation != "none":
        check_after(input, residual, activation)
    if sample_weight is not None and use_input_stats:
        weighted = weighted_groups("InstanceNorm", input, input.shape[1], sample_weight, weight, bias, eps)
        if running_mean is not None and running_var is not None:
            track_weighted_instances(
                input, sample_weight, running_mean, running_var, momentum, num_batches_skipped
            )
        return finish(weighted, residual, activation, dropout, dropout > 0.0, generator=generator)
    backend = requested(backend)
    if backend != "aten" and input.dim() > 2:
        output = cpu.attempt_normalize(
            "instance_norm",
            backend,
            cpu.GROUP if use_input_stats else cpu.ACROSS,
            input,
            weight,
            bias,
            residual,
            groups=input.shape[1],
            batch_statistics=use_input_stats,
            eps=eps,
            running_mean=None if use_input_stats else running_mean,
            running_var=None if use_input_stats else running_var,
            activation=activation,
            rate=dropout,
            generator=generator,
        )
        if output is not None:
            if use_input_stats and running_mean is not None and running_var is not None:
                aten.track_instances(input.detach(), running_mean, running_var, momentum, num_batches_skipped)
            return output
    else:
        note_aten("instance_norm", input.shape)
    output = aten.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps, num_batches_skipped
    )
    return finish(output, residual, activation, dropout, dropout > 0.0, generator=generator)
