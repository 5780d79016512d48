"""Synchronized batch normalization over `torch.distributed`, in plain Python: on the CPU as on accelerators."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as collectives
from torch import Tensor, nn

from normwise import functional
from normwise.layers._state import Device, DType
from normwise.layers._trace import as_leaf, is_traced
from normwise.layers._tracking import Tracking, held
from normwise.layers.batch_norm import batch_norm_of


class AllReduce:
    """How a layer normalizes together with the same layer of the other processes of a group.

    Args:
        group: of `torch.distributed`; None for the default one.
    """

    def __init__(self, group: Any = None) -> None:
        self.group = group

    def __call__(
        self, layer: Any, input: Tensor, sample_weight: Tensor | None = None, **after: Any
    ) -> Tensor:
        """Normalize the input by the statistics of all processes."""
        return functional.shared_batch_norm(
            input,
            self.reduce,
            layer.running() if layer.moves() else None,
            held(layer, "weight"),
            held(layer, "bias"),
            layer.eps,
            sample_weight=sample_weight,
            **after,
        )

    def reduce(self, vector: Tensor) -> Tensor:
        """Sum over the group; over one process, or without processes, the vector itself."""
        if not (dist.is_available() and dist.is_initialized()):
            return vector
        group = dist.group.WORLD if self.group is None else self.group
        if dist.get_world_size(group) == 1:
            return vector
        summed: Tensor = _SumOverGroup.apply(vector, group)  # type: ignore[no-untyped-call]
        return summed

    def __deepcopy__(self, memo: dict[int, Any]) -> AllReduce:
        # A group of processes is no part of a model: copies talk to the same one.
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Nor can it be written to a file: a model that is loaded elsewhere has the default group.
        return (AllReduce, ())


class _SumOverGroup(torch.autograd.Function):
    """A sum over processes, whose gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, vector: Tensor, group: Any) -> Tensor:
        ctx.group = group
        return _all_reduced(vector, group)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None]:
        summed: Tensor = _SumOverGroup.apply(cotangents[0], ctx.group)  # type: ignore[no-untyped-call]
        return summed, None


def _all_reduced(vector: Tensor, group: Any) -> Tensor:
    if torch.compiler.is_compiling():
        # In place a collective cannot be part of a graph.
        summed: Tensor = collectives.wait_tensor(  # type: ignore[no-untyped-call]
            collectives.all_reduce(vector, "sum", group)
        )
        return summed
    vector = vector.clone()
    dist.all_reduce(vector, group=group)
    return vector


class SyncBatchNorm(Tracking, nn.SyncBatchNorm):
    """Batch normalization of (N, C, *) over the processes of a group; a `torch.nn.SyncBatchNorm`.

    ``y = (x − μ) / sqrt(σ² + eps) · weight + bias`` per channel, μ and σ² over the samples and positions of all
    processes. Arguments and state_dict keys are torch's. Unlike torch's it runs on any device and with any back end of
    `torch.distributed` (gloo on the CPU, nccl), with parts of any size, empty ones too, under `torch.compile`, and
    keeps the input's layout. One all-reduce of 1 + 2·C float64 values forward, one backward. Without processes, or
    over one, it is `BatchNorm`. What `BatchNorm1d` has beyond torch's, it has, too.

    All processes must run the layer in the same mode and equally often, as with every collective.

    Raises:
        ValueError: an input with less than two axes, or, in one process alone, one value per channel in training.

    Source: Peng et al. 2018 (MegDet).

    >>> SyncBatchNorm(1)(torch.tensor([[1.0], [3.0]])).detach().round(decimals=3).flatten()
    tensor([-1.,  1.])
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Device = None,
        dtype: DType = None,
        *,
        bias: bool = True,
        single_sample: str = "raise",
        biased_running_var: bool = False,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, process_group, device, dtype, bias=bias
        )
        self.set_tracking(single_sample, biased_running_var)

    def forward(self, input: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Normalize this process's part of the batch."""
        if is_traced(input):
            output: Tensor = as_leaf(self, input, sample_weight=sample_weight)
            return output
        self._check_input_dim(input)
        batchwise = self.training or (self.running_mean is None and self.running_var is None)
        if batchwise and not self.statistics_frozen and _processes(self.process_group) > 1:
            return AllReduce(self.process_group)(self, input, sample_weight)
        return batch_norm_of(self, input, sample_weight)

    def extra_repr(self) -> str:
        """The arguments, as torch writes them, and what is unlike torch."""
        return super().extra_repr() + self.tracking_repr()  # type: ignore[no-untyped-call,no-any-return]


def _processes(group: Any) -> int:
    if not (dist.is_available() and dist.is_initialized()):
        return 1
    return dist.get_world_size(group)
