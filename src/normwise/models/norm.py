"""Normalizations by name, as layers for features (N, C) and for images (N, C, H, W)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from normwise import layers
from normwise.errors import ArgumentError, explain, unknown_name

NORMS: tuple[str, ...] = ("none", "batch", "layer", "group", "instance", "rms", "weight")

_CHANNELS_PER_GROUP = 8
_MOST_GROUPS = 32


@dataclass(frozen=True)
class Norm:
    """A normalization that was asked for: its kind, and for groups how many (None: chosen by the width).

    Attributes:
        kind: one of `NORMS`.
        groups: the number of groups.
        who: the function that was asked, for messages.
    """

    kind: str
    groups: int | None
    who: str

    @classmethod
    def parse(cls, spec: str, who: str) -> Norm:
        """Read ``"batch"``, ``"group"`` or ``"group:4"``."""
        kind, colon, text = spec.partition(":")
        if kind not in NORMS:
            raise unknown_name(who, "normalization", kind, NORMS)
        if not colon:
            return cls(kind, None, who)
        if kind != "group" or not text.isdecimal() or int(text) < 1:
            raise ArgumentError(
                explain(
                    who,
                    "a number after the colon is the number of groups of 'group', at least 1",
                    repr(spec),
                    f"write {kind!r}" + (" or 'group:4'" if kind == "group" else ""),
                )
            )
        return cls(kind, int(text), who)

    @property
    def cancels_bias(self) -> bool:
        """Whether the layer subtracts each channel's mean, and with it any bias just before."""
        return self.kind in ("batch", "instance")

    def wrap(self, weighted: nn.Module) -> nn.Module:
        """Weight-normalize a layer, in place, if that is what was asked for, and return it."""
        return layers.weight_norm(weighted) if self.kind == "weight" else weighted

    def for_features(self, width: int) -> nn.Module | None:
        """Return the layer for (N, C), or None where there is none."""
        match self.kind:
            case "batch":
                return layers.BatchNorm1d(width)
            case "layer":
                return layers.LayerNorm(width)
            case "rms":
                return layers.RMSNorm(width)
            case "group":
                return layers.GroupNorm(self._groups_of(width), width)
            case "instance":
                raise ArgumentError(
                    explain(
                        self.who,
                        "instance normalization takes its statistics over positions",
                        f"a fully connected layer of width {width}, which has none",
                        "use 'layer'" + (", or norm_head=False" if self.who == "cnn" else ""),
                    )
                )
        return None

    def for_images(self, channels: int, height: int, width: int) -> nn.Module | None:
        """Return the layer for (N, C, H, W), or None where there is none."""
        match self.kind:
            case "batch":
                return layers.BatchNorm2d(channels)
            case "layer":
                return layers.LayerNorm2d(channels)
            case "rms":
                return layers.RMSNorm2d(channels)
            case "group":
                return layers.GroupNorm(self._groups_of(channels), channels)
            case "instance":
                if height * width < 2:
                    raise ArgumentError(
                        explain(
                            self.who,
                            "instance normalization needs at least 2 positions in a block",
                            f"an image of {height} × {width} there",
                            "use fewer blocks or pool='none'",
                        )
                    )
                return layers.InstanceNorm2d(channels, affine=True)
        return None

    def _groups_of(self, channels: int) -> int:
        divisors = [n for n in range(1, channels + 1) if channels % n == 0]
        if self.groups is None:
            most = min(_MOST_GROUPS, max(1, channels // _CHANNELS_PER_GROUP))
            return max(n for n in divisors if n <= most)
        if channels % self.groups:
            listed = ", ".join(map(str, divisors))
            raise ArgumentError(
                explain(
                    self.who,
                    "the number of channels must be divisible by the number of groups",
                    f"{channels} and {self.groups}",
                    f"use a divisor of {channels} ({listed}), or 'group' to have one chosen",
                )
            )
        return self.groups
