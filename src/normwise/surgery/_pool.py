"""Statistics pooled over batches, and over processes: parts in float64 that merge without loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from normwise.functional import Moments, moments


@dataclass(frozen=True, slots=True)
class Instances:
    """The means over instances of their means and of their unbiased variances: what instance normalization tracks."""

    count: Tensor
    mean: Tensor
    var: Tensor

    def merged(self, other: Instances) -> Instances:
        """The means over the instances of both."""
        count = self.count + other.count
        share = other.count / count.clamp_min(1.0)
        return Instances(
            count, self.mean + (other.mean - self.mean) * share, self.var + (other.var - self.var) * share
        )


@dataclass(frozen=True, slots=True)
class Scatter:
    """Means (C,), and sums (G, D, D) of products of deviations from them in each group of channels."""

    count: Tensor
    mean: Tensor
    products: Tensor

    def merged(self, other: Scatter) -> Scatter:
        """The moments of both parts together, as `Moments.merged` has them for variances."""
        count = self.count + other.count
        share = other.count / count.clamp_min(1.0)
        apart = other.mean - self.mean
        grouped = apart.view(*self.products.shape[:2], 1)
        products = self.products + other.products + grouped @ grouped.mT * (self.count * share)
        return Scatter(count, self.mean + apart * share, products)


Part = Moments | Instances | Scatter
"""What one batch tells: a dataclass of float64 tensors, the first of which is its count, without dimensions."""


def measured(input: Tensor, sample_weight: Tensor | None = None) -> Moments:
    """The moments of each channel; of an empty batch zeros.

    >>> measured(torch.empty(0, 2)).mean
    tensor([0., 0.], dtype=torch.float64)
    """
    if input.numel() == 0:
        nothing = torch.zeros(input.shape[1], dtype=torch.float64, device=input.device)
        return Moments(nothing.new_zeros(()), nothing, nothing)
    # Kernels sum float32 in float lanes first, which is off by 1e-6 where a channel has few values.
    return moments(input.detach().double(), sample_weight)


def measured_instances(input: Tensor, sample_weight: Tensor | None = None) -> Instances:
    """The means over the instances of (N, C, *) that have a weight; unbiased variances of (weighted) positions.

    >>> measured_instances(torch.tensor([[[1.0, 3.0]], [[5.0, 5.0]]])).var
    tensor([1.], dtype=torch.float64)
    """
    seen = input.detach().double().flatten(2)
    part = seen.new_ones(seen.shape[0], 1, seen.shape[2])
    if sample_weight is not None:
        given = sample_weight.double().reshape(seen.shape[0], 1, -1)
        part = given.expand_as(part)
        seen = seen.masked_fill(part == 0, 0.0)  # NaN in padding times a weight of zero would be NaN
    total = part.sum(2)
    mean = (seen * part).sum(2) / total.clamp_min(1e-300)
    squares = ((seen - mean[..., None]).square() * part).sum(2)
    var = squares / torch.where(total > 1, total - 1, 1.0)
    there = (total > 0).double()
    count = there.sum()
    whole = count.clamp_min(1.0)
    return Instances(count, (mean * there).sum(0) / whole, (var * there).sum(0) / whole)


def measured_scatter(input: Tensor, groups: int) -> Scatter:
    """Means and products of deviations of (N, C, *) in groups of channels.

    >>> measured_scatter(torch.tensor([[0.0, 0.0], [2.0, 4.0]]), 1).products
    tensor([[[2., 4.],
             [4., 8.]]], dtype=torch.float64)
    """
    columns = input.detach().double().transpose(0, 1).reshape(groups, input.shape[1] // groups, -1)
    count = columns.new_tensor(float(columns.shape[2]))
    mean = columns.sum(2) / count.clamp_min(1.0)
    columns = columns - mean[..., None]
    return Scatter(count, mean.flatten(), columns @ columns.mT)


class Pool:
    """Parts as they come in, merged; those that are not finite are left out and counted.

    Attributes:
        part: everything so far.
        calls: how many parts came, empty ones not counted.
        left_out: how many of them were not finite.
    """

    def __init__(self, empty: Part) -> None:
        self.part: Any = empty
        self.calls = torch.zeros_like(empty.count)
        self.left_out = torch.zeros_like(empty.count)

    @torch.no_grad()
    def add(self, part: Part) -> None:
        """Take one more part in. Without a branch on values, so that nothing waits for a device."""
        values = tuple(value.to(self.calls.device) for value in _fields(part))
        finite = torch.stack([value.isfinite().all() for value in values]).all()
        kept: Any = type(part)(*(torch.where(finite, value, 0.0) for value in values))
        self.part = self.part.merged(kept)
        self.calls += (~finite) | (values[0] > 0)
        self.left_out += ~finite

    def vector(self) -> Tensor:
        """All numbers, one behind the other."""
        return torch.cat([t.reshape(-1) for t in (self.calls, self.left_out, *_fields(self.part))])

    def take(self, vectors: Sequence[Tensor]) -> None:
        """Become the pool of several, given by their vectors."""
        like = _fields(self.part)
        sizes = [1, 1, *(value.numel() for value in like)]
        whole: Any = None
        self.calls, self.left_out = torch.zeros_like(self.calls), torch.zeros_like(self.left_out)
        for vector in vectors:
            calls, left_out, *values = _cut(vector.to(self.calls.device), sizes)
            part = type(self.part)(*(v.view_as(old) for v, old in zip(values, like, strict=True)))
            whole = part if whole is None else whole.merged(part)
            self.calls += calls[0]
            self.left_out += left_out[0]
        self.part = self.part if whole is None else whole


def pool_over_processes(pools: Sequence[Pool], group: Any) -> None:
    """Let the same pools of all processes of a group become one, in the order of their ranks: equal bits everywhere."""
    if not pools:
        return
    device = _meeting_place(group)
    own = torch.cat([pool.vector().to(device) for pool in pools])
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, own, group=group)
    sizes = [pool.vector().numel() for pool in pools]
    for pool, vectors in zip(pools, zip(*(_cut(part, sizes) for part in parts), strict=True), strict=True):
        pool.take(vectors)


def told_by_all(values: Sequence[float], group: Any) -> list[list[float]]:
    """What each process of a group says, in the order of their ranks."""
    own = torch.tensor(values, dtype=torch.float64, device=_meeting_place(group))
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, own, group=group)
    return [part.tolist() for part in parts]


def _meeting_place(group: Any) -> torch.device:
    """Where the processes' back end wants its tensors."""
    nccl = dist.get_backend(group) == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")


def _fields(part: Any) -> tuple[Tensor, ...]:
    return tuple(getattr(part, field.name) for field in fields(part))


def _cut(vector: Tensor, sizes: list[int]) -> list[Tensor]:
    return list(torch.split(vector, sizes))
