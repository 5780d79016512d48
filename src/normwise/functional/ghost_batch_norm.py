"""Batch normalization in ghost batches: parts of a batch, each normalized by its own statistics."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.functional._across import laid_out, per_channel
from normwise.functional._channels import check_channels, check_weights
from normwise.functional.batch_norm import batch_norm
from normwise.kernels import aten
from normwise.kernels.aten import Running

_Statistics = tuple[Tensor, Tensor, Tensor]
"""Of K ghosts: their sizes (K, 1), means (K, C) and variances of the kind that is kept (K, C)."""


def ghost_sizes(samples: int, ghost_size: int) -> list[tuple[int, int]]:
    """How a batch falls into ghosts: pairs of how many and of what size, the larger ones first.

    There are ``max(1, round(samples / ghost_size))`` of them, where a half is rounded down, so that no ghost of 2 or
    more loses half of its size; sizes differ by one at most.

    >>> ghost_sizes(64, 32), ghost_sizes(70, 32), ghost_sizes(20, 32)
    ([(2, 32)], [(2, 35)], [(1, 20)])
    >>> ghost_sizes(11, 4), ghost_sizes(3, 2)
    ([(2, 4), (1, 3)], [(1, 3)])
    """
    ghosts = max(1, -((ghost_size - 2 * samples) // (2 * ghost_size)))
    size, larger = divmod(samples, ghosts)
    return [(number, each) for number, each in ((larger, size + 1), (ghosts - larger, size)) if number]


def ghost_batch_norm(
    input: Tensor,
    ghost_size: int,
    running: Running | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """Normalize each ghost batch, samples that follow one another, by its own mean and biased variance.

    ``y = (x − μ_k) / sqrt(σ²_k + eps) · weight + bias`` for a sample of ghost k. The running statistics move once:
    by the mean of the ghosts' means and the mean of their unbiased variances, weighted by their sizes.

    Args:
        input: (N, C, *).
        ghost_size: how many samples a ghost should have; see `ghost_sizes`.
        running: running statistics, moved by the batch; None tracks nothing.
        weight: (C,) or None for 1.
        bias: (C,) or None for 0.
        eps: added to the variance, under the root.
        sample_weight: (N, *) or (N,), the part of an element in its ghost's statistics; 0 leaves it out.

    Returns:
        The input's shape, dtype and layout. Statistics are float32, float64 for float64 input.

    Raises:
        ArgumentError: (a ValueError) a ghost of one value per channel, or weights of another shape.

    Source: Hoffer, Hubara & Soudry 2017, algorithm 1, which moves the running statistics by each ghost in turn.

    >>> ghost_batch_norm(torch.tensor([[0.0], [2.0], [10.0], [12.0]]), 2, eps=1e-12).flatten()
    tensor([-1.,  1., -1.,  1.])
    """
    check_channels("GhostBatchNorm", input, None)
    sizes = ghost_sizes(input.shape[0], ghost_size)
    if sizes[-1][1] * math.prod(input.shape[2:]) == 1:
        raise ArgumentError(
            explain(
                "GhostBatchNorm",
                "Expected more than 1 value per channel in each ghost when training",
                f"input size {tuple(input.shape)} and ghosts of {ghost_size}",
                "use a larger `ghost_size` or a larger batch",
            )
        )
    part = None if sample_weight is None else check_weights("GhostBatchNorm", input, sample_weight)
    outputs, found, start = [], [], 0
    for ghosts, size in sizes:
        stop = start + ghosts * size
        stack = input[start:stop].reshape(ghosts, size, *input.shape[1:])
        if part is None:
            output, statistics = _plain(stack, running, weight, bias, eps)
        else:
            weights = part[start:stop].reshape(ghosts, size, -1)
            output, statistics = _weighted(stack, weights, running, weight, bias, eps)
        outputs.append(output.flatten(0, 1))
        found.append(statistics)
        start = stop
    if running is not None:
        _track(running, found)
    return laid_out(outputs[0] if len(outputs) == 1 else torch.cat(outputs), input)


def _plain(
    stack: Tensor, running: Running | None, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, _Statistics]:
    """Ghosts of one size as models side by side, (K, N, C, *); with momentum 1 they leave their statistics."""
    ghosts, size, channels = stack.shape[:3]
    wide = torch.float64 if stack.dtype == torch.float64 else torch.float32
    mean = stack.new_zeros(ghosts, channels, dtype=wide)  # under a map as batched as the input is
    # Below zero, and lost in any variance that replaces it: a ghost whose statistics are not finite stays there.
    var = torch.full_like(mean, -torch.finfo(wide).tiny)
    gain, shift = (None if p is None else p.expand(ghosts, -1).contiguous() for p in (weight, bias))
    output = batch_norm(
        stack,
        None if running is None else mean,
        None if running is None else var,
        gain,
        shift,
        True,
        1.0,
        eps,
        stacked=True,
        biased_running_var=running is not None and running.biased,
    )
    sizes = torch.full_like(mean[:, :1], size)
    return output, (sizes, mean, torch.where(var < 0, torch.nan, var))


def _weighted(
    stack: Tensor,
    part: Tensor,
    running: Running | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> tuple[Tensor, _Statistics]:
    """The same by weights of samples and positions, (K, N, S); a ghost's size is the sum of its weights."""
    values = stack.flatten(3) if stack.dim() > 3 else stack.unsqueeze(3)
    part = part.unsqueeze(2)
    output = aten.weighted_norm(values, part, (1, 3), eps).reshape(stack.shape)
    ghost = stack[0]
    if weight is not None:
        output = output * per_channel(weight.to(output.dtype), ghost)
    if bias is not None:
        output = output + per_channel(bias.to(output.dtype), ghost)
    with torch.no_grad():
        seen, part = values.detach().double().masked_fill(part == 0, 0.0), part.double()
        count = part.sum((1, 3))
        mean = (seen * part).sum((1, 3)) / count.clamp_min(1e-300)
        squares = ((seen - mean[:, None, :, None]).square() * part).sum((1, 3))
        less = 0.0 if running is not None and running.biased else 1.0
        # A ghost of less than one whole element has no unbiased variance; its squares are zero or next to it.
        var = squares / torch.where(count > less, count - less, 1.0)
    return output.to(stack.dtype), (count, mean, var)


def _track(running: Running, found: list[_Statistics]) -> None:
    """Move the running statistics by the mean over all ghosts; where all weights are zero they stay."""
    sizes, means, variances = (torch.cat(parts) for parts in zip(*found, strict=True))
    total = sizes.sum()
    share = sizes.double() / total.clamp_min(torch.finfo(torch.float32).tiny)
    old = (running.mean, running.var)
    whole = ((means * share).sum(0), (variances * share).sum(0))
    running.track(*(torch.where(total > 0, new, was) for new, was in zip(whole, old, strict=True)))
