"""State and checks of the normalizations across samples that are not plain batch normalization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.functional._channels import check_channels
from normwise.kernels.aten import Running
from normwise.layers._state import Device, DType, Ranked, Tracked
from normwise.layers._trace import as_leaf, is_traced

SelfT = TypeVar("SelfT", bound="AcrossSamples")
_NARROW = (torch.float16, torch.bfloat16)


class AcrossSamples(Ranked, Tracked):
    """Torch's arguments and names, inputs of certain numbers of axes, and the running statistics of `Tracking`."""

    wide_buffers: ClassVar[tuple[str, ...]] = ()  # beside the running statistics, that stay float32, too

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        device: Device = None,
        dtype: DType = None,
        *,
        bias: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        if eps <= 0.0:
            raise ArgumentError(explain(type(self).__name__, "`eps` must be positive", f"{eps}", "use 1e-5"))
        super().__init__(
            num_features,
            eps,
            momentum,
            affine=affine,
            bias=bias,
            track_running_stats=track_running_stats,
            device=device,
            dtype=dtype,
        )

    def check_input(self, input: Tensor) -> None:
        """Raise unless the input has the layer's number of axes and its channels."""
        self.check_rank(input)
        check_channels(type(self).__name__, input, self.num_features)

    def forward(self, input: Tensor) -> Tensor:
        """Normalize the input."""
        if is_traced(input):
            output: Tensor = as_leaf(self, input)
            return output
        self.check_input(input)
        return self.normalize(input)

    def by_batch(self) -> bool:
        """Whether a batch's own statistics normalize it: in training, unless they are frozen."""
        return self.training and not self.statistics_frozen

    def tracked(self) -> Running | None:
        """The running statistics that a pass by the batch's own moves; copies of them where they are to stay.

        Torch's operator saves them for the backward pass, and a checkpoint wants a recomputation to save as much.
        """
        running = self.running()
        if running is None or self.moves():
            return running
        return Running(running.mean.clone(), running.var.clone(), running.momentum)

    def _apply(self: SelfT, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SelfT:
        before = {name: self._buffers[name] for name in self.wide_buffers}
        super()._apply(fn, recurse)
        for name, old in before.items():
            now = self._buffers[name]
            if now is not None and old is not None and now.dtype in _NARROW:
                self._buffers[name] = old.to(now.device).float()
        return self

    def arguments(self) -> dict[str, Any]:
        """What a class has beyond torch's arguments, by name, for its description."""
        return {}

    def describe(self) -> str:
        """The arguments, as torch writes them."""
        more = "".join(f", {name}={value!r}" for name, value in self.arguments().items())
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}{more}{self.tracking_repr()}"
        )


def statistics_dtype(dtype: DType) -> torch.dtype:
    """Of buffers that are built for parameters of a dtype; None stands for torch's default.

    >>> statistics_dtype(torch.bfloat16), statistics_dtype(torch.float64)
    (torch.float32, torch.float64)
    """
    dtype = torch.get_default_dtype() if dtype is None else dtype
    return torch.float32 if dtype in _NARROW else dtype


class Weighable(AcrossSamples):
    """A layer whose statistics take weights of elements."""

    def forward(self, input: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Normalize the input.

        Args:
            input: (N, C, *).
            sample_weight: (N, *) or (N,), the part of an element in the statistics, or a mask of booleans: where it is
                zero or False, an element has no part, whatever it is. It is normalized as all others are.
        """
        if is_traced(input):
            output: Tensor = as_leaf(self, input, sample_weight=sample_weight)
            return output
        self.check_input(input)
        return self.normalize(input, sample_weight=sample_weight)
