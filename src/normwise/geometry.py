"""Which elements share a statistic: the one idea under every activation normalization.

Index convention: an input is viewed as (N, C, S): samples, channels, positions. The C channels fall into G
groups of C / G neighbours, so that statistics are taken over the view (N, G, C / G, S).

=================  ==========================  ===  =========  ===============
Layer              what is N, C, S             G    share N    centred
=================  ==========================  ===  =========  ===============
Batch              sample, channel, place      C    yes        yes
Group              sample, channel, place      G    no         yes
Instance           sample, channel, place      C    no         yes
Layer              leading, trailing axes, 1   1    no         yes
Layer (channels)   sample × place, channel, 1  1    no         yes
RMS                as Layer                    1    no         no
=================  ==========================  ===  =========  ===============

In every row the affine map has one weight (and bias) per element of C.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from normwise.errors import ArgumentError, explain


@dataclass(frozen=True, slots=True)
class Geometry:
    """The set of elements that share a mean and a variance.

    Attributes:
        shape: the input's shape.
        samples: N, the number of samples.
        channels: C, the number of channels; weight and bias have one value for each.
        positions: S, the number of positions of a channel.
        groups: G, the number of groups of channels; a group shares statistics.
        across_samples: all samples share statistics.
        centred: the mean is subtracted.
        channels_first: channels stand on axis 1 of the input and are to be moved behind the positions, which
            become samples.

    >>> Geometry.group((8, 6, 5, 5), groups=3).count
    50
    >>> Geometry.batch((8, 6, 5, 5)).statistics_shape
    (1, 6)
    """

    shape: tuple[int, ...]
    samples: int
    channels: int
    positions: int
    groups: int
    across_samples: bool = False
    centred: bool = True
    channels_first: bool = False

    @classmethod
    def batch(cls, shape: Sequence[int]) -> Geometry:
        """All samples and positions of a channel share; input (N, C, *)."""
        samples, channels, positions = _channels_first(shape, "Batch normalization")
        return cls(tuple(shape), samples, channels, positions, channels, across_samples=True)

    @classmethod
    def group(cls, shape: Sequence[int], groups: int) -> Geometry:
        """A group of channels and all its positions share, sample by sample; input (N, C, *).

        Raises:
            ArgumentError: the channels do not divide into the groups.
        """
        samples, channels, positions = _channels_first(shape, "Group normalization")
        if groups < 1 or channels % groups:
            raise ArgumentError(
                explain(
                    "GroupNorm",
                    "`num_channels` must be divisible by `num_groups`",
                    f"{channels} and {groups}",
                    f"use a divisor of {channels} ({', '.join(map(str, divisors(channels)))})",
                )
            )
        return cls(tuple(shape), samples, channels, positions, groups)

    @classmethod
    def instance(cls, shape: Sequence[int]) -> Geometry:
        """All positions of a channel share, sample by sample; input (N, C, *)."""
        samples, channels, positions = _channels_first(shape, "Instance normalization")
        return cls(tuple(shape), samples, channels, positions, channels)

    @classmethod
    def layer(cls, shape: Sequence[int], normalized: Sequence[int], *, centred: bool = True) -> Geometry:
        """The trailing axes share; input (*, *normalized).

        Raises:
            ArgumentError: the shape does not end in `normalized`.
        """
        shape, normalized = tuple(shape), tuple(normalized)
        if not normalized or shape[-len(normalized) :] != normalized:
            raise ArgumentError(
                explain(
                    "LayerNorm" if centred else "RMSNorm",
                    f"the input's shape must end in {list(normalized)}",
                    str(list(shape)),
                    "`normalized_shape` names the trailing axes",
                )
            )
        return cls(shape, math.prod(shape[: -len(normalized)]), math.prod(normalized), 1, 1, centred=centred)

    @classmethod
    def layer_over_channels(cls, shape: Sequence[int], *, centred: bool = True) -> Geometry:
        """The channels share, position by position; input (N, C, *)."""
        samples, channels, positions = _channels_first(shape, "Layer normalization over channels")
        return cls(tuple(shape), samples * positions, channels, 1, 1, centred=centred, channels_first=True)

    @classmethod
    def rms(cls, shape: Sequence[int], normalized: Sequence[int]) -> Geometry:
        """The trailing axes share a root mean square; input (*, *normalized)."""
        return cls.layer(shape, normalized, centred=False)

    @property
    def count(self) -> int:
        """The number of elements that share one statistic."""
        within = self.channels // max(self.groups, 1) * self.positions
        return within * self.samples if self.across_samples else within

    @property
    def statistics_shape(self) -> tuple[int, int]:
        """The shape (N or 1, G) of a statistic."""
        return (1 if self.across_samples else self.samples, self.groups)

    def view(self, input: Tensor) -> Tensor:
        """The input as (N, C, S); a view where the strides allow it."""
        if self.channels_first:
            input = input.movedim(1, -1)
        return input.reshape(self.samples, self.channels, self.positions)

    def restore(self, viewed: Tensor) -> Tensor:
        """The inverse of `view`."""
        if not self.channels_first:
            return viewed.reshape(self.shape)
        return viewed.reshape(self.shape[0], *self.shape[2:], self.channels).movedim(-1, 1)


def divisors(number: int) -> list[int]:
    """All divisors, ascending.

    >>> divisors(12)
    [1, 2, 3, 4, 6, 12]
    """
    return [d for d in range(1, number + 1) if number % d == 0]


def _channels_first(shape: Sequence[int], who: str) -> tuple[int, int, int]:
    if len(shape) < 2:
        raise ArgumentError(explain(who, "the input must have the axes (N, C, *)", f"shape {list(shape)}"))
    return shape[0], shape[1], math.prod(shape[2:])
