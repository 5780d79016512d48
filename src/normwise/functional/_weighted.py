"""Normalization within a sample where some elements count less, or not at all."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.functional._channels import beside_channels, check_weights, without_holes
from normwise.kernels import aten
from normwise.kernels.registry import note_aten


def weighted_groups(
    who: str,
    input: Tensor,
    groups: int,
    sample_weight: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    """Each group of channels of (N, C, *) by its statistics over the weighted positions; affine per channel."""
    note_aten("group_norm", input.shape)
    part = check_weights(who, input, sample_weight)
    input = without_holes(input, beside_channels(part, input))
    samples, channels = input.shape[:2]
    grouped = input.reshape(samples, groups, channels // groups, -1)
    hat = aten.weighted_norm(grouped, part[:, None, None], (2, 3), eps).reshape(input.shape)
    shape = (-1, *(1,) * (input.dim() - 2))
    return _like(input, _affine(hat, weight, bias, shape))


def weighted_trailing(
    who: str,
    input: Tensor,
    trailing: int,
    sample_weight: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    """The trailing axes by their weighted statistics; affine per element."""
    note_aten("layer_norm", input.shape)
    try:
        part = sample_weight.expand(input.shape)
    except RuntimeError:
        raise ArgumentError(
            explain(
                who,
                f"`sample_weight` must broadcast to the input, {tuple(input.shape)}",
                f"shape {tuple(sample_weight.shape)}",
                "add axes of size 1 where all elements have one weight; where the last axis alone is normalized, "
                "positions do not mix and need no mask",
            )
        ) from None
    input = without_holes(input, part)
    axes = tuple(range(input.dim() - trailing, input.dim()))
    hat = aten.weighted_norm(input, part, axes, eps)
    return _affine(hat, weight, bias, tuple(input.shape[-trailing:])).to(input.dtype)


@torch.no_grad()
def track_weighted_instances(
    input: Tensor,
    sample_weight: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    skipped: Tensor | None,
) -> None:
    """Move running statistics towards the means, over the samples that have a weight, of the instances' own."""
    part = check_weights("InstanceNorm", input, sample_weight).double()[:, None]
    seen = input.double().reshape(*input.shape[:2], -1).masked_fill(part == 0, 0.0)
    total = part.sum(2)
    mean = (seen * part).sum(2) / total.clamp_min(1e-300)
    squares = ((seen - mean[..., None]).square() * part).sum(2)
    var = squares / torch.where(total > 1, total - 1, 1.0)
    there = (total > 0).double()
    count = there.sum().clamp_min(1.0)
    anything = there.any()
    batch = ((mean * there).sum(0) / count, (var * there).sum(0) / count)
    running = (running_mean, running_var)
    kept = tuple(torch.where(anything, new, old) for new, old in zip(batch, running, strict=True))
    aten.track(running, kept, momentum, skipped=skipped)


def _affine(hat: Tensor, weight: Tensor | None, bias: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    if weight is not None:
        hat = hat * weight.to(hat.dtype).view(shape)
    return hat if bias is None else hat + bias.to(hat.dtype).view(shape)


def _like(input: Tensor, output: Tensor) -> Tensor:
    """In the input's dtype and layout."""
    return torch.empty_like(input).copy_(output) if not input.is_contiguous() else output.to(input.dtype)
