"""Normalizations by name, as layers for features (N, C) and for images (N, C, H, W), or in a layer's weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from normwise import layers
from normwise.errors import ArgumentError, explain
from normwise.geometry import divisors
from normwise.models.activation import make_activation
from normwise.norms import KINDS, Kind, find, number_of, problem_of

NORMS: tuple[str, ...] = tuple(KINDS)

_CHANNELS_PER_GROUP = 8
_MOST_GROUPS = 32


@dataclass(frozen=True)
class Norm:
    """A normalization that was asked for.

    Attributes:
        kind: what is known of it.
        number: what stood behind its name, if anything.
        who: the function that was asked, for messages.
    """

    kind: Kind
    number: int | None
    who: str

    @classmethod
    def parse(cls, spec: str, who: str) -> Norm:
        """Read ``"batch"``, ``"group"`` or ``"group:4"``."""
        kind = find(spec, who)
        problem = problem_of(spec)
        if problem:
            raise ArgumentError(explain(who, problem, repr(spec), f"write {kind.name!r}"))
        return cls(kind, number_of(spec), who)

    @property
    def cancels_bias(self) -> bool:
        """Whether the layer subtracts each channel's mean, and with it any bias just before."""
        return self.kind.cancels_bias

    def activation(self, name: str) -> nn.Module:
        """The activation that goes with the norm: the named one, or an identity where the norm holds its own."""
        activation = make_activation(name, self.who)
        return nn.Identity() if self.kind.is_activation else activation

    def wrap(self, weighted: nn.Module) -> nn.Module:
        """Put what lies in weights on a linear layer or convolution, in place, and return it.

        Its weight keeps its value as far as that can be: a length, a mean or a spectrum may be fixed. A layer stays
        as it is where a unit has too few incoming weights to have a spread.
        """
        kind = self.kind
        weight: Any = weighted.weight
        if not kind.weights or weight.numel() < kind.inputs * _units(weighted):
            return weighted
        drawn = weight.detach().clone()
        getattr(layers, kind.weights)(weighted, **kind.options)
        with torch.no_grad():
            weighted.weight = drawn
        return weighted

    def for_features(self, width: int) -> nn.Module | None:
        """Return the layer for (N, C), or None where there is none."""
        kind = self.kind
        if not kind.fits_features:
            raise ArgumentError(
                explain(
                    self.who,
                    f"{kind.title} needs positions",
                    f"a fully connected layer of width {width}, which has none",
                    "use 'layer'" + (", or norm_head=False" if self.who == "cnn" else ""),
                )
            )
        return self._layer(kind.features, width) if kind.features else None

    def for_images(self, channels: int, height: int, width: int, *, rank: int = 2) -> nn.Module | None:
        """Return the layer for (N, C, H, W), or for `rank` axes of positions, or None where there is none."""
        kind = self.kind
        if not kind.fits_images:
            raise ArgumentError(
                explain(
                    self.who,
                    f"{kind.title} takes rows of features",
                    f"{channels} channels of {height} × {width} positions",
                    "use 'rms'",
                )
            )
        if height * width < kind.positions:
            raise ArgumentError(
                explain(
                    self.who,
                    f"{kind.title} needs at least {kind.positions} positions in a block",
                    f"an image of {height} × {width} there",
                    "use fewer blocks or pool='none'",
                )
            )
        return self._layer(kind.images.replace("2d", f"{rank}d"), channels) if kind.images else None

    def _layer(self, name: str, width: int) -> nn.Module:
        keyword = self.kind.width
        given = {keyword: width} if keyword else {}
        number = self._number_for(width)
        if self.kind.number is not None and number is not None:
            given |= {key: factor * number for key, factor in self.kind.number.keywords.items()}
        made: nn.Module = getattr(layers, name)(
            *([width] if keyword == "" else []), **given, **self.kind.options
        )
        return made

    def _number_for(self, channels: int) -> int | None:
        number = self.kind.number
        if number is None:
            return None
        if self.number is None:
            return _groups(channels) if number.by_width else number.default
        known = divisors(channels)
        if number.divides and self.number not in known:
            raise ArgumentError(
                explain(
                    self.who,
                    f"the number of channels must be divisible by the number of {number.noun}s",
                    f"{channels} and {self.number}",
                    f"use a divisor of {channels} ({', '.join(map(str, known))}), "
                    f"or {self.kind.name!r} to have one chosen",
                )
            )
        return self.number


def _groups(channels: int) -> int:
    """The largest number of groups, within bounds, that divides the channels."""
    most = min(_MOST_GROUPS, max(1, channels // _CHANNELS_PER_GROUP))
    return max(n for n in divisors(channels) if n <= most)


def _units(weighted: Any) -> int:
    """The output units of a linear layer or convolution."""
    units: int = weighted.out_features if isinstance(weighted, nn.Linear) else weighted.out_channels
    return units
