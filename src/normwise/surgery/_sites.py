"""Layers with running statistics: what of an input each keeps statistics of, and into which buffers they go."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from normwise import layers
from normwise.errors import ArgumentError, explain
from normwise.functional import Moments
from normwise.layers._tracking import Tracking
from normwise.surgery._pool import Part, Pool, measured
from normwise.surgery._range import check_range

STATISTICS = ("running_mean", "running_var", "running_whitening")
_RENORM = (layers.BatchRenorm1d, layers.BatchRenorm2d, layers.BatchRenorm3d)


def keeps_statistics(module: nn.Module) -> bool:
    """Whether this is a layer of torch's or normwise's, or derived from one, that has running statistics now."""
    known = isinstance(module, Tracking | _NormBase)
    return known and any(module._buffers.get(name) is not None for name in STATISTICS)


def is_ours(module: nn.Module) -> bool:
    """Whether the forward pass is one of normwise's own."""
    return isinstance(module, Tracking) and _home_of_forward(module).startswith("normwise.layers")


def is_torchs(module: nn.Module) -> bool:
    """Whether the forward pass is torch's own."""
    return _home_of_forward(module).startswith("torch.nn.modules")


def _home_of_forward(module: nn.Module) -> str:
    forward: Any = vars(module).get("forward", type(module).forward)
    return str(getattr(getattr(forward, "__func__", forward), "__module__", ""))


def arguments_of(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call of one of normwise's layers by name, the input first."""
    bound = inspect.signature(type(module).forward).bind(module, *args, **kwargs).arguments
    return {name: value for name, value in bound.items() if name != "self"}


class Site:
    """A layer that is given new statistics: those of a batch for a while, those of all batches in the end.

    Attributes:
        module: the layer.
        name: its first name in the model.
        holders: the modules whose buffers hold the statistics, with a pool for each.
        pools: what came in.
        unit: of what `pools` count.
        widest: the largest finite value that was shown in a buffer narrower than float32; 0 where there is none.
    """

    unit = "values of each channel"

    def __init__(self, module: nn.Module, name: str) -> None:
        self.module = module
        self.name = name
        self.holders = self.find_holders()
        self.widest: Tensor | None = None
        self.clear()

    def clear(self) -> None:
        """Forget what came in."""
        self.pools = [Pool(self.nothing(holder)) for holder in self.holders]

    def find_holders(self) -> list[nn.Module]:
        """See `holders`."""
        return [self.module]

    def nothing(self, holder: nn.Module) -> Part:
        """The statistics of no values."""
        buffers = (holder._buffers.get(name) for name in STATISTICS)
        values = next(buffer for buffer in buffers if buffer is not None)
        zeros = torch.zeros(values.shape[-1], dtype=torch.float64, device=values.device)
        return Moments(zeros.new_zeros(()), zeros, zeros)

    def prepare(self, batchwise: bool) -> None:
        """Set the attributes by which evaluation normalizes by what `show` sets."""

    def restore(self) -> None:
        """Undo `prepare`."""

    def inputs(self, input: Tensor, **named: Any) -> list[tuple[Tensor, Tensor | None]]:
        """For each pool its part of the input, and its weights."""
        return [(input, named.get("sample_weight"))]

    def fits(self, input: Tensor) -> bool:
        """Whether the input has the layer's axis of channels."""
        channels: Any = self.module.num_features
        return input.dim() > 1 and input.shape[1] == channels

    def measure(self, input: Tensor, sample_weight: Tensor | None) -> Part:
        """The statistics of a part."""
        return measured(input, sample_weight)

    def take(self, batchwise: bool, input: Tensor, **named: Any) -> None:
        """Pool the statistics of an input of the layer; in a pass by batches, normalize it by them."""
        for holder, pool, (part, weight) in zip(
            self.holders, self.pools, self.inputs(input, **named), strict=True
        ):
            found = self.measure(part, weight)
            pool.add(found)
            if batchwise:
                self.show(holder, self.values(self.several(pool, found, part), biased=True))

    def several(self, pool: Pool, found: Any, input: Tensor) -> Any:
        """What normalizes this input: its own statistics; of one value per channel, those of all values up to it."""
        if input.dim() < 2 or input.numel() != input.shape[1]:
            return found
        if float(pool.part.count) <= 1.0:
            raise ArgumentError(
                explain(
                    "recalibrate",
                    f"the first batch must have more than one value per channel at `{self.name}`",
                    f"an input of size {tuple(input.shape)}",
                    "use larger batches, or how='sequential', where a batch is not normalized by itself",
                )
            )
        return pool.part

    def show(self, holder: nn.Module, values: dict[str, Tensor]) -> None:
        """Put statistics into new buffers."""
        for name, value in values.items():
            old = holder._buffers.get(name)
            if old is not None:
                holder._buffers[name] = value.to(old.device, old.dtype)
                if old.dtype is torch.float16:
                    largest = torch.where(value.isfinite(), value.abs(), 0.0).max().to(old.device)
                    self.widest = largest if self.widest is None else torch.maximum(self.widest, largest)

    def values(self, part: Any, *, biased: bool) -> dict[str, Tensor]:
        """Running statistics from pooled ones."""
        less = part.count if biased else torch.where(part.count > 1, part.count - 1, 1.0)
        return {"running_mean": part.mean, "running_var": part.squares / less.clamp_min(1e-300)}

    def deviation(self, part: Any) -> Tensor:
        """Of the pooled values, per channel; the unit in which shifts of means are told."""
        return self.values(part, biased=True)["running_var"].sqrt()

    def enough(self, part: Part, holder: nn.Module) -> bool:
        """Whether a variance can be told."""
        biased = bool(getattr(holder, "biased_running_var", False))
        return float(part.count) > (0.0 if biased or holder._buffers.get("running_var") is None else 1.0)

    def refuse(self, who: str) -> None:
        """Raise `ArgumentError`, a ValueError, where what came in gives no statistics."""
        for holder, pool in zip(self.holders, self.pools, strict=True):
            count = float(pool.part.count)
            if float(pool.left_out) and count == 0.0:
                got = f"{float(pool.left_out):.0f} batches with values that are not finite, and no other"
                raise ArgumentError(explain(who, f"`{self.name}` must get values that are finite", got))
            if count > 0.0 and not self.enough(pool.part, holder):
                got = f"{count:g} in all batches together"
                must = f"`{self.name}` must get more than one value per channel"
                raise ArgumentError(explain(who, must, got, "a variance needs two: use more data"))
        for holder, values in self.results():
            for key, value in values.items():
                check_range(who, self.name, key, value, holder.get_buffer(key).dtype)
        # Where a batch was normalized by an infinite variance, what comes behind saw nothing of it.
        if self.widest is not None:
            check_range(who, self.name, "the statistics of a batch", self.widest, torch.float16)

    def results(self) -> list[tuple[nn.Module, dict[str, Tensor]]]:
        """For each holder its new buffers, in float64; a counter says of how many batches they are."""
        found = []
        for holder, pool in zip(self.holders, self.pools, strict=True):
            if float(pool.part.count) > 0.0:
                biased = bool(getattr(holder, "biased_running_var", False))
                new = self.values(pool.part, biased=biased)
                if not isinstance(self.module, _RENORM):  # whose counter says how far its schedule is
                    new["num_batches_tracked"] = pool.calls - pool.left_out
                found.append((holder, {k: v for k, v in new.items() if holder._buffers.get(k) is not None}))
        return found
