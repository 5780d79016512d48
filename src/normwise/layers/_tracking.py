"""What normwise's layers with running statistics have beyond torch's: freezing, float32 buffers, single samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from normwise.errors import unknown_name
from normwise.kernels.aten import Running
from normwise.layers._recompute import in_recomputation

SelfT = TypeVar("SelfT", bound="Tracking")
SINGLE_SAMPLE: tuple[str, ...] = ("raise", "running")
"""What a layer may do with one value per channel in training."""

_NARROW = (torch.float16, torch.bfloat16)


class Tracking(nn.Module):
    """Running statistics that can be frozen, that stay float32 in a narrow model, and that count what they left out.

    Attributes:
        num_batches_skipped: how many batches were not taken in because a statistic was not finite; a counter without
            dimensions that is no part of the state_dict, or None where nothing is tracked.
        statistics_frozen: running statistics are used in training, too, and do not move; `train` does not change it.
        single_sample: "raise" refuses one value per channel in training, as torch does; "running" normalizes it by the
            running statistics, which stay.
        biased_running_var: the running variance takes the biased variance, as in Keras; torch takes the unbiased one.
    """

    shares: ClassVar[bool] = False  # whether its batch statistics can be shared with replicas

    num_batches_skipped: Tensor | None
    statistics_frozen: bool = False
    single_sample: str = "raise"
    biased_running_var: bool = False

    def set_tracking(self, single_sample: str = "raise", biased_running_var: bool = False) -> None:
        """Take the options and add the counter; to be called when the running statistics are there."""
        if single_sample not in SINGLE_SAMPLE:
            raise unknown_name(type(self).__name__, "single_sample", str(single_sample), SINGLE_SAMPLE)
        self.statistics_frozen = False
        self.single_sample = single_sample
        self.biased_running_var = biased_running_var
        counter = self._buffers.get("num_batches_tracked")
        skipped = None if counter is None else torch.zeros_like(counter)
        self.register_buffer("num_batches_skipped", skipped, persistent=False)
        self._widen_running({})

    def freeze_statistics(self: SelfT, frozen: bool = True) -> SelfT:
        """Use the running statistics in training, too, and leave them as they are, until this is taken back.

        Gradients go through the affine map and the input alone, as in evaluation. `train` and `eval` do not change it.

        >>> import normwise as nw
        >>> layer = nw.BatchNorm1d(2).freeze_statistics().train()
        >>> _ = layer(torch.ones(4, 2))
        >>> layer.num_batches_tracked
        tensor(0)
        """
        self.statistics_frozen = frozen
        return self

    def freeze_affine(self: SelfT, frozen: bool = True) -> SelfT:
        """Let weight and bias have no gradient, until this is taken back; statistics go on.

        >>> import normwise as nw
        >>> nw.BatchNorm1d(2).freeze_affine().weight.requires_grad
        False
        """
        for parameter in (self._parameters.get("weight"), self._parameters.get("bias")):
            if parameter is not None:
                parameter.requires_grad_(not frozen)
        return self

    def running(self) -> Running | None:
        """The running statistics and how they move, for `normwise.kernels.aten`; None where there are none."""
        mean, var = held(self, "running_mean"), held(self, "running_var")
        if mean is None or var is None:
            return None
        batches, skipped = held(self, "num_batches_tracked"), self._buffers.get("num_batches_skipped")
        momentum: float | None = self.momentum  # type: ignore[assignment]
        return Running(mean, var, momentum, batches, skipped, self.biased_running_var)

    def moves(self) -> bool:
        """Whether a forward pass now moves the running statistics: in training, once for each pass of the user's."""
        return (
            self.training
            and bool(self.track_running_stats)
            and not self.statistics_frozen
            and not in_recomputation()
        )

    def reset_running_stats(self) -> None:
        """Set the running mean to zero, the variance to one and both counters to zero."""
        super().reset_running_stats()  # type: ignore[misc]
        # torch's constructor resets before the counter is there.
        skipped = self._buffers.get("num_batches_skipped")
        if skipped is not None:
            skipped.zero_()

    def _apply(self: SelfT, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SelfT:
        before = {name: self._buffers.get(name) for name in ("running_mean", "running_var")}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._widen_running(before)
        return self

    def _widen_running(self, before: dict[str, Tensor | None]) -> None:
        """Keep running statistics in float32 where a model becomes narrow: steps of 0.001 would be lost in bfloat16."""
        for name in ("running_mean", "running_var"):
            now = self._buffers.get(name)
            if now is not None and now.dtype in _NARROW:
                old = before.get(name)
                self._buffers[name] = (now if old is None else old.to(now.device)).float()

    def tracking_repr(self) -> str:
        """What differs from torch's behaviour, to follow the other arguments."""
        texts = [f"single_sample={self.single_sample!r}"] if self.single_sample != "raise" else []
        texts += ["biased_running_var=True"] if self.biased_running_var else []
        texts += ["statistics frozen"] if self.statistics_frozen else []
        return "".join(f", {text}" for text in texts)


def held(layer: Any, name: str) -> Tensor | None:
    """A module's tensor from where it is held; a parametrization, or who set a plain tensor, has moved it elsewhere.

    A module finds its tensors by `__getattr__`, last of all: five times, that is a tenth of a small call.
    """
    found: Tensor | None
    if name in layer._parameters:
        found = layer._parameters[name]
    elif name in layer._buffers:
        found = layer._buffers[name]
    else:
        found = getattr(layer, name, None)
    return found
