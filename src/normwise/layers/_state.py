"""The learned and the tracked state of the layers that do not subclass torch's."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, explain
from normwise.layers._trace import as_leaf, is_traced
from normwise.layers._tracking import Tracking

Device = torch.device | str | int | None
DType = torch.dtype | None


class Normalizer(nn.Module):
    """A module that normalizes; a class says how, and how its arguments are written."""

    def normalize(self, input: Tensor, *given: Any, **after: Any) -> Tensor:
        """Normalize the input; then residual, activation and dropout, as the functions of `functional` take them."""
        raise NotImplementedError(f"{type(self).__name__} must define `normalize`")

    def describe(self) -> str:
        """The arguments, as torch writes them."""
        raise NotImplementedError(f"{type(self).__name__} must define `describe`")

    def forward(self, input: Tensor) -> Tensor:
        """Normalize the input."""
        if is_traced(input):
            output: Tensor = as_leaf(self, input)
            return output
        return self.normalize(input)

    def extra_repr(self) -> str:
        """The arguments."""
        return self.describe()


class Affine(Normalizer):
    """A module with an optional weight of ones and an optional bias of zeros, under torch's names.

    Attributes:
        weight: of the given shape, or None.
        bias: of the given shape, or None; only beside a weight.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self, shape: tuple[int, ...], *, affine: bool, bias: bool, device: Device, dtype: DType
    ) -> None:
        super().__init__()
        weight = torch.ones(shape, device=device, dtype=dtype) if affine else None
        self.register_parameter("weight", None if weight is None else nn.Parameter(weight))
        self.register_parameter(
            "bias", None if weight is None or not bias else nn.Parameter(torch.zeros_like(weight))
        )

    def reset_parameters(self) -> None:
        """Set the weight to one and the bias to zero."""
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Ranked(Normalizer):
    """A module that takes inputs of certain numbers of axes."""

    ranks: ClassVar[tuple[int, ...]]

    def check_rank(self, input: Tensor) -> None:
        """Raise unless the input has one of the numbers of axes."""
        if input.dim() not in self.ranks:
            raise ArgumentError(
                explain(
                    type(self).__name__,
                    f"expected {' or '.join(f'{rank}D' for rank in self.ranks)} input",
                    f"{input.dim()}D input of size {tuple(input.shape)}",
                )
            )


class Tracked(Tracking, Affine):
    """Affine state and running statistics, under torch's names; what can be done with these is in `Tracking`.

    Attributes:
        running_mean: (C,), or None where nothing is tracked.
        running_var: (C,), or None where nothing is tracked.
        num_batches_tracked: a counter without dimensions, or None.
    """

    # Version 2 of torch's state has `num_batches_tracked`; a checkpoint of version 1 loads without it.
    _version = 2

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        *,
        affine: bool,
        bias: bool,
        track_running_stats: bool,
        device: Device,
        dtype: DType,
        single_sample: str = "raise",
        biased_running_var: bool = False,
    ) -> None:
        super().__init__((num_features,), affine=affine, bias=bias, device=device, dtype=dtype)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        tracked: tuple[Tensor | None, ...] = (None, None, None)
        if track_running_stats:
            mean = torch.zeros(num_features, device=device, dtype=dtype)
            tracked = (mean, torch.ones_like(mean), torch.zeros((), device=device, dtype=torch.long))
        for name, values in zip(("running_mean", "running_var", "num_batches_tracked"), tracked, strict=True):
            self.register_buffer(name, values)
        self.set_tracking(single_sample, biased_running_var)

    def reset_running_stats(self) -> None:
        """Set the running mean to zero, the variance to one and the counters to zero."""
        counters = ("num_batches_tracked", "num_batches_skipped")
        for name, value in (("running_mean", 0), ("running_var", 1), *((name, 0) for name in counters)):
            buffer = self._buffers[name]
            if buffer is not None:
                buffer.fill_(value)

    def reset_parameters(self) -> None:
        """Set running statistics, weight and bias to their first values."""
        self.reset_running_stats()
        super().reset_parameters()

    def describe(self) -> str:
        """The arguments, as torch writes them."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}{self.tracking_repr()}"
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *others: Any
    ) -> None:
        counter = f"{prefix}num_batches_tracked"
        old = local_metadata.get("version") is None or local_metadata["version"] < 2
        if old and self.num_batches_tracked is not None and counter not in state_dict:
            meta = self.num_batches_tracked.device.type == "meta"
            state_dict[counter] = torch.zeros((), dtype=torch.long) if meta else self.num_batches_tracked
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)
