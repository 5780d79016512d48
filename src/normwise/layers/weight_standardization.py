"""Weight standardization, plain and scaled, as a parametrization of a module's weight."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from normwise import functional
from normwise.errors import ArgumentError, explain
from normwise.layers._parametrize import Axis, ModuleT, axis_of, parameter_of, register, require_none, widened
from normwise.layers.centred_weight import CentredWeight, require_spread


class WeightStandardization(CentredWeight):
    """The parametrization ``weight = scale · gain · (w − μ) / sqrt(σ² + eps)``; plain, scale and gain are absent.

    Attributes:
        gain: one learned factor per output unit, or None.
        scale: gamma / sqrt(fan-in) of the scaled form, or 1.
    """

    gain: Tensor | None

    def __init__(self, weight: Tensor, eps: float, gamma: float | None, dim: int, groups: int) -> None:
        super().__init__(dim, groups)
        self.eps = eps
        self.gamma = gamma
        self.scale = 1.0 if gamma is None else gamma / math.sqrt(self.fan_in(weight))
        split = self.split(weight.detach())
        shape = [1 if axis in self.incoming(split) else size for axis, size in enumerate(split.shape)]
        self.register_parameter("gain", None if gamma is None else nn.Parameter(split.new_ones(shape)))

    def forward(self, weight: Tensor) -> Tensor:
        """The standardized weight."""
        centred = self.centred(self.split(widened(weight)))
        variance = centred.square().mean(dim=self.incoming(centred), keepdim=True)
        factor = (variance + self.eps).rsqrt() * self.scale
        if self.gain is not None:
            factor = factor * self.gain
        return (centred * factor).reshape(weight.shape).to(weight.dtype)

    @torch.no_grad()
    def right_inverse(self, weight: Tensor) -> Tensor:
        """The weight itself; the gain takes its spread, so that what it is assigned differs from it by a mean alone."""
        if self.gain is not None:
            centred = self.centred(self.split(widened(weight)))
            variance = centred.square().mean(dim=self.incoming(centred), keepdim=True)
            self.gain.copy_((variance + self.eps).sqrt() / self.scale)
        return weight

    def extra_repr(self) -> str:
        """The axis, eps, and gamma of the scaled form."""
        scaled = "" if self.gamma is None else f", scaled=True, gamma={self.gamma:.6g}"
        return f"{super().extra_repr()}, eps={self.eps}{scaled}"


def weight_standardization(
    module: ModuleT,
    name: str = "weight",
    dim: Axis = "output",
    *,
    eps: float = 1e-6,
    scaled: bool = False,
    gamma: float | str = 1.0,
) -> ModuleT:
    """Give each output unit's incoming weights mean 0 and variance 1, in place, and return the module.

    ``(w − μ) / sqrt(σ² + eps)``, with mean and biased variance over the fan-in, in float32 (float64 for a float64
    weight). Scaled: ``gain · gamma / sqrt(fan-in) · (w − μ) / sqrt(σ² + eps)``, one learned gain per output unit, ones
    at first, which keeps the variance of a signal without a normalization of activations. The weight's value changes;
    where one is assigned afterwards (an initialization does), the gain takes its spread. timm's `StdConv2d` and
    `ScaledStdConv2d` are these for convolutions.

    Args:
        module: Linear, any convolution, or a module of your own with a `dim`.
        name: the parameter, of two axes or more.
        dim: the axis of output units; "output" finds it.
        eps: added to the variance, under the root.
        scaled: the form of normalizer-free networks.
        gamma: of the scaled form: what restores the variance behind the activation before this layer, or that
            activation's name (one of `functional.ACTIVATION_NAMES`).

    Raises:
        ArgumentError: (a ValueError) there is no such parameter, it is standardized already, the axis is not known, a
            unit has a single incoming weight, `eps` is negative, or `gamma` is given without `scaled`.
        UnknownNameError: the activation is not known.

    Source: Qiao et al. 2019; Brock, De & Smith 2021 for the scaled form.

    >>> layer = weight_standardization(nn.Linear(4, 3))
    >>> layer.weight.std(dim=1, correction=0).detach().round(decimals=3)
    tensor([1., 1., 1.])
    """
    who = "weight_standardization"
    require_none(who, "standardized", module, name, WeightStandardization)
    axis, groups = axis_of(who, module, name, dim)
    if eps < 0.0:
        raise ArgumentError(explain(who, "`eps` must not be negative", f"{eps}", "use 1e-6"))
    if not scaled and gamma != 1.0:
        raise ArgumentError(
            explain(who, "`gamma` belongs to the scaled form", f"{gamma!r}", "add scaled=True")
        )
    factor = activation_gamma(gamma) if isinstance(gamma, str) else gamma
    weight = parameter_of(who, module, name)
    kind = WeightStandardization(weight, eps, factor if scaled else None, axis, groups)
    require_spread(who, kind, weight)
    register(module, name, kind)
    if kind.gain is not None:
        nn.init.ones_(
            kind.gain
        )  # what it starts from is for the layer to say, not for the weight that it was built with
    return module


def activation_gamma(activation: str) -> float:
    """What restores the variance of a standard normal signal behind an activation: ``1 / sqrt(Var f(x))``.

    Raises:
        UnknownNameError: the activation is not known.

    >>> round(activation_gamma("relu"), 4), round((2 / (1 - 1 / math.pi)) ** 0.5, 4)
    (1.7129, 1.7129)
    """
    functional.check_finish("weight_standardization", activation, 0.0)
    # The trapezoid rule over a smooth density is exact to rounding, and to 1e-7 at a kink on a node.
    x = torch.linspace(-10.0, 10.0, 40001, dtype=torch.float64, device="cpu")
    density = torch.exp(-0.5 * x.square())
    y = functional.finish(x, activation=activation)
    weights = density / density.sum()
    mean = (weights * y).sum()
    return float((weights * (y - mean).square()).sum().rsqrt())
