"""The numbers of a layer and of a norm, as scalars on their device.

Axes: R rows, which are samples or samples × positions; C channels, which are units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from normwise.monitor.observe import _BOUNDED, _DEAD, FLAT
from normwise.monitor.watch import Seen, SeenNorm

_PERCENTILES = (0.05, 0.5, 0.95)
_MOST_SORTED = 2048  # entries behind the percentiles: they are right to about a percentage point
_TINY = 1e-12


def slopes(seen: Seen) -> Tensor | None:
    """(R, C): the derivative of a layer's activation, up to a factor; None where it is not known."""
    if seen.derivative is not None:
        return seen.derivative(seen.received)
    return None if seen.given is None or seen.activation != "relu" else (seen.given != 0).float()


def layer_figures(seen: Seen, slope: Tensor | None) -> dict[str, Tensor]:
    """Mean, std, percentiles and saturation of a layer's activation."""
    given = seen.received if seen.given is None else seen.given
    mean = given.mean()
    figures = {"mean": mean, "std": _rms(given - mean)} | _percentiles(seen.received)
    if slope is not None and seen.activation in _BOUNDED:
        figures["saturation"] = (slope.abs() < FLAT).float().mean()
    return figures


def norm_figures(seen: SeenNorm) -> dict[str, Tensor]:
    """How far the batch is from the running statistics, in running σ and in ln σ."""
    moments = _Moments.of(seen.received)
    var, mean = moments.std.square(), moments.mean
    eps = float(getattr(seen.module, "eps", 0.0))
    running_var = seen.running_var.float() + eps
    gap = (mean - seen.running_mean.float()) / running_var.sqrt()
    return {"mean_gap": _rms(gap), "spread_gap": _rms(0.5 * ((var + eps) / running_var).log())}


@dataclass
class _Moments:
    """Of each channel over the checks of a window: number of rows, mean (C,), sum of squared deviations (C,)."""

    count: int
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, values: Tensor) -> _Moments:
        """Two sweeps: `torch.var_mean` over the first axis takes five times as long on a CPU."""
        mean = values.mean(dim=0)
        return cls(len(values), mean, (values - mean).square_().sum(dim=0))

    @property
    def std(self) -> Tensor:
        return (self.squares / self.count).sqrt()

    def merge(self, other: _Moments) -> _Moments:
        """Chan, Golub & LeVeque (1983)."""
        count = self.count + other.count
        apart = other.mean - self.mean
        squares = self.squares + other.squares + apart.square() * (self.count * other.count / count)
        return _Moments(count, self.mean + apart * (other.count / count), squares)


class Window:
    """A layer's channels over the last checks; memory is that of a few vectors.

    Args:
        length: checks in a window.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._checks = 0
        self._now: _Moments | None = None
        self._before: _Moments | None = None
        self._silent: Tensor | None = None

    def add(self, seen: Seen, slope: Tensor | None) -> dict[str, Tensor]:
        """Take a check in, and give the share of dead units so far; at the end of a window also its shift."""
        if not seen.by_units or not len(seen.received):
            return {}
        self._checks += 1
        moments = _Moments.of(seen.received)
        self._now = moments if self._now is None else self._now.merge(moments)
        figures = {} if slope is None else self._dead((slope.abs() <= _DEAD).all(dim=0))
        if self._checks == self._length:
            figures |= self._turn(self._now)
        return figures

    def _dead(self, silent: Tensor) -> dict[str, Tensor]:
        self._silent = silent if self._silent is None else self._silent & silent
        return {"dead": self._silent.float().mean()}

    def _turn(self, now: _Moments) -> dict[str, Tensor]:
        """End a window."""
        before = self._before
        self._before, self._now, self._silent, self._checks = now, None, None, 0
        if before is None:
            return {}
        std = before.std.clamp_min(_TINY)
        apart = (now.mean - before.mean).abs() / std
        spread = (now.std.clamp_min(_TINY) / std).log()
        return {"mean_shift": _rms(apart), "spread_shift": _rms(spread), "largest_shift": apart.max()}


def log_slope(values: list[float]) -> float | None:
    """Least-squares slope of log₁₀ over the index, of the positive ones; None of fewer than three.

    >>> round(log_slope([1e-3, 1e-2, 1e-1]), 6)
    1.0
    """
    points = [(i, math.log10(v)) for i, v in enumerate(values) if math.isfinite(v) and v > 0]
    if len(points) < 3:
        return None
    middle = sum(i for i, _ in points) / len(points)
    level = sum(y for _, y in points) / len(points)
    steep = sum((i - middle) * (y - level) for i, y in points)
    return steep / sum((i - middle) ** 2 for i, _ in points)


def norm_of(values: Tensor) -> Tensor:
    """‖·‖₂, in float32 at least."""
    wide: Any = torch.promote_types(values.dtype, torch.float32)
    norm: Tensor = torch.linalg.vector_norm(values.detach(), dtype=wide)
    return norm


def _percentiles(received: Tensor) -> dict[str, Tensor]:
    flat = received.reshape(-1)
    if not len(flat):
        return {}
    ordered = flat[:: math.ceil(len(flat) / _MOST_SORTED)].sort().values
    last = len(ordered) - 1
    return {f"p{round(100 * q)}": ordered[round(q * last)] for q in _PERCENTILES}


def _rms(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()
