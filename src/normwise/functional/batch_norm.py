"""Batch normalization."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.compiler import is_compiling

from normwise.errors import ArgumentError, explain
from normwise.functional._channels import beside_channels, check_weights, without_holes
from normwise.functional.finish import check_after, finish
from normwise.geometry import Geometry
from normwise.kernels import aten, cpu
from normwise.kernels.aten import batch_norm as by_torch
from normwise.kernels.registry import note_aten, requested


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | Tensor | None = 0.1,
    eps: float = 1e-5,
    *,
    num_batches_tracked: Tensor | None = None,
    num_batches_skipped: Tensor | None = None,
    biased_running_var: bool = False,
    sample_weight: Tensor | None = None,
    residual: Tensor | None = None,
    activation: str = "none",
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
    stacked: bool = False,
    backend: str | None = None,
) -> Tensor:
    """Normalize each channel by its mean and variance over samples and positions; then residual, activation, dropout.

    ``y = dropout(activation((x − μ) / sqrt(σ² + eps) · weight + bias + residual))``, with the biased variance σ². In
    training μ and σ² are the batch's, and the running statistics move by ``running ← (1 − momentum) · running +
    momentum · batch``, there with the unbiased variance; otherwise μ and σ² are the running ones. Where a batch's mean
    or variance is not finite in any channel, the output shows it, and all running statistics stay as they are.

    Args:
        input: (N, C, *).
        running_mean: (C,), changed in place in training; None tracks nothing.
        running_var: (C,), changed in place in training; None tracks nothing.
        weight: (C,) or None for 1.
        bias: (C,) or None for 0.
        training: use the batch's statistics and update the running ones.
        momentum: weight of the new batch; a tensor without dimensions is read on its device, not by Python; None
            counts all batches alike, by `num_batches_tracked`.
        eps: added to the variance, under the root.
        num_batches_tracked: a counter without dimensions, raised by one in training.
        num_batches_skipped: a counter without dimensions, raised instead where the batch was not finite.
        biased_running_var: the running variance takes the biased variance, as Keras does.
        sample_weight: (N, *), the part that an element has in the batch's statistics: 0 leaves padding out. The
            unbiased variance divides by the sum of weights less one.
        residual: of the input's shape, added before the activation.
        activation: one of `ACTIVATION_NAMES`.
        dropout: probability of a zero; the rest is scaled up.
        generator: where dropout's seed is drawn; None for torch's default.
        stacked: the input is (K, N, C, *), K models side by side with parameters and statistics (K, C), each
            normalized, dropped and tracked as if alone. Model k draws the k-th seed.
        backend: one of `normwise.kernels.registry.BACKENDS`; None for the one in force.

    Returns:
        The input's shape, dtype and layout. Statistics are float32, float64 for float64 input.

    Raises:
        ArgumentError: (a ValueError) one value per channel in training, an `eps` that is not positive, or a residual
            or weights of another shape.
        BackendError: the back end was asked for by name and cannot run.

    Source: Ioffe & Szegedy 2015, algorithms 1 and 2.

    >>> batch_norm(torch.tensor([[1.0], [3.0]]), None, None, training=True, eps=1e-12)
    tensor([[-1.],
            [ 1.]])
    """
    return batch_norm_by_position(
        input,
        running_mean,
        running_var,
        weight,
        bias,
        training,
        momentum,
        eps,
        num_batches_tracked,
        num_batches_skipped,
        biased_running_var,
        sample_weight,
        residual,
        activation,
        dropout,
        generator,
        stacked,
        backend,
        is_compiling(),
    )


def batch_norm_by_position(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float | Tensor | None,
    eps: float,
    num_batches_tracked: Tensor | None,
    num_batches_skipped: Tensor | None,
    biased_running_var: bool,
    sample_weight: Tensor | None,
    residual: Tensor | None,
    activation: str,
    dropout: float,
    generator: torch.Generator | None,
    stacked: bool,
    backend: str | None,
    compiled: bool,
) -> Tensor:
    """`batch_norm` for the layers: to match so many names costs Python as much as the kernel of a small input.

    Nothing is called here that need not be: between other work, a function of Python costs far more than its few lines.
    """
    if training:
        # Cheap first: this line runs at every step of networks whose steps are mostly overhead.
        if input.dim() > 1 and input.shape[0] == 1 and Geometry.batch(input.shape).count == 1:
            _refuse_single_value(input)
        if eps <= 0.0:
            raise ArgumentError(
                explain("BatchNorm", "batch_norm eps must be positive during training", f"{eps}", "use 1e-5")
            )
    elif eps < 0.0:
        raise ArgumentError(explain("BatchNorm", "batch_norm eps must be non-negative", f"{eps}", "use 1e-5"))
    if sample_weight is not None or stacked:
        sample_weight = _checked(input, sample_weight, stacked, training)
        if sample_weight is not None:
            input = without_holes(input, beside_channels(sample_weight, input))
    if residual is not None or activation not in aten.ACTIVATIONS:
        check_after(input, residual, activation)
    backend = "aten" if compiled and backend is None else requested(backend, compiled)
    bare = residual is None and activation == "none" and not dropout
    left = bare and backend == "auto" and cpu.is_left_to_torch("batch_norm", backend, input)
    if backend != "aten" and not left and not isinstance(momentum, Tensor):
        tracked = training and (running_mean is not None or running_var is not None)
        output = cpu.attempt_normalize(
            "batch_norm",
            backend,
            cpu.ACROSS,
            input,
            weight,
            bias,
            residual,
            1,  # groups
            0,  # trailing
            stacked,
            training,
            True,  # centred
            eps,
            -1.0 if momentum is None else momentum if tracked or not training else 0.0,
            running_mean,
            running_var,
            biased_running_var,
            num_batches_tracked if training else None,
            num_batches_skipped if training else None,
            sample_weight,
            activation,
            dropout,
            generator,
        )
        if output is not None:
            return output
    elif not (left or compiled):
        note_aten("batch_norm", input.shape)
    if sample_weight is None and not stacked:
        output = by_torch(
            input,
            running_mean,
            running_var,
            weight,
            bias,
            training,
            momentum,
            eps,
            num_batches_tracked,
            num_batches_skipped,
            biased_running_var,
            compiled,
        )
    else:
        running = None
        if running_mean is not None and running_var is not None:
            running = aten.Running(
                running_mean,
                running_var,
                momentum,
                num_batches_tracked,
                num_batches_skipped,
                biased_running_var,
            )
        if sample_weight is None:
            output = aten.batch_norm_stacked(input, running, weight, bias, training, eps)
        else:
            output = aten.batch_norm_weighted(input, running, weight, bias, eps, sample_weight)
    if bare:
        return output
    return finish(output, residual, activation, dropout, dropout > 0.0, generator=generator)


def _checked(input: Tensor, sample_weight: Tensor | None, stacked: bool, training: bool) -> Tensor | None:
    """The weights of samples and positions as (N, S), float32."""
    if stacked and input.dim() < 3:
        raise ArgumentError(
            explain("BatchNorm", "stacked input must have the axes (K, N, C, *)", f"{input.dim()}D input")
        )
    if sample_weight is None or not training:
        return None
    if stacked:
        raise ArgumentError(explain("BatchNorm", "`sample_weight` is for one model", "stacked input"))
    return check_weights("BatchNorm", input, sample_weight)


def _refuse_single_value(input: Tensor) -> None:
    raise ArgumentError(
        explain(
            "BatchNorm",
            "Expected more than 1 value per channel when training",
            f"input size {tuple(input.shape)}",
            "use a larger batch (drop_last=True drops a short last one), eval mode, or GroupNorm or "
            "LayerNorm, whose statistics do not depend on the batch",
        )
    )
