"""Weights without a mean, as a parametrization."""

from __future__ import annotations

from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.layers._parametrize import (
    Axis,
    ModuleT,
    PerUnit,
    axis_of,
    parameter_of,
    register,
    require_none,
    widened,
)


class CentredWeight(PerUnit):
    """The parametrization ``weight = w − μ``, one mean per output unit."""

    def forward(self, weight: Tensor) -> Tensor:
        """The weight without its mean."""
        return self.centred(self.split(widened(weight))).reshape(weight.shape).to(weight.dtype)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The weight itself: what it has of a mean is taken away when it is read."""
        return weight

    def centred(self, split: Tensor) -> Tensor:
        """The weight, in its groups, without the mean of each unit's incoming weights."""
        axes = self.incoming(split)
        first = split - split.mean(dim=axes, keepdim=True)
        # The rounding error of a large mean is a mean itself, of the size of small weights.
        return first - first.mean(dim=axes, keepdim=True)


def centred_weight(module: ModuleT, name: str = "weight", dim: Axis = "output") -> ModuleT:
    """Take the mean of its incoming weights from each output unit, in place, and return the module.

    ``w − μ``, μ over the fan-in, in float32, float64 for a float64 weight: an input's constant part then reaches no
    output. The weight's value changes. With a norm of one besides it is ``weight_standardization(scaled=True)``.

    Args:
        module: Linear, any convolution, or a module of your own with a `dim`.
        name: the parameter, of two axes or more.
        dim: the axis of output units; "output" finds it.

    Raises:
        ArgumentError: (a ValueError) there is no such parameter, it is centred already, the axis is not known, or a
            unit has a single incoming weight, of which nothing would be left.

    Source: Huang et al. 2017.

    >>> from torch import nn
    >>> layer = centred_weight(nn.Linear(4, 3))
    >>> layer.weight.mean(dim=1).abs().max() < 1e-6
    tensor(True)
    """
    require_none("centred_weight", "centred", module, name, CentredWeight)
    kind = CentredWeight(*axis_of("centred_weight", module, name, dim))
    require_spread("centred_weight", kind, parameter_of("centred_weight", module, name))
    register(module, name, kind)
    return module


def require_spread(who: str, kind: PerUnit, weight: Tensor) -> None:
    """Raise `ArgumentError`, a ValueError, where a unit has one incoming weight: without its mean it is zero."""
    if kind.fan_in(weight) < 2:
        raise ArgumentError(
            explain(
                who,
                "an output unit must have 2 incoming weights or more",
                f"{kind.fan_in(weight)} for a weight of shape {tuple(weight.shape)}",
                "leave such a layer as it is",
            )
        )
