"""The layers that have weights to draw, and how a weight is read as a matrix and written back.

Index convention: G groups, O output and I input channels of one group, K positions of the kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from normwise.errors import ArgumentError, explain

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_WEIGHTED = (nn.Linear, *_CONVOLUTIONS, *_TRANSPOSED)


@dataclass(frozen=True)
class WeightedLayer:
    """A layer whose weight is to be drawn.

    Attributes:
        name: dotted name in the model.
        module: the linear layer or convolution.
        gain: factor for the activation that follows.
        generator: the layer's own source of random numbers.
    """

    name: str
    module: nn.Module
    gain: float
    generator: torch.Generator

    @property
    def shape(self) -> tuple[int, int, int]:
        """The weight as G matrices of O rows and I·K columns."""
        weight, groups = self._weight, self._groups
        if isinstance(self.module, _TRANSPOSED):
            return groups, weight.shape[1], weight.shape[0] // groups * self._kernel
        return groups, weight.shape[0] // groups, weight.shape[1] * self._kernel

    @property
    def fan_in(self) -> float:
        """The number of inputs that one output adds up: I·K, for transposed convolutions I·K / stride."""
        return self.shape[2] / self._stride

    @property
    def fan_out(self) -> float:
        """The number of outputs that one input goes into: O·K, for transposed convolutions O·K / stride."""
        return self.shape[1] * self._kernel / self._stride

    def normal(self) -> Tensor:
        """Draw G × O × I·K standard normal numbers: in float64, so that all dtypes start from the same."""
        return torch.randn(self.shape, generator=self.generator, dtype=torch.float64)

    @torch.no_grad()
    def set_weight_(self, matrices: Tensor) -> None:
        """Write G × O × I·K numbers into the weight, or into the parts that it is computed from."""
        weight = self._weight
        groups, outputs, _ = self.shape
        if isinstance(self.module, _TRANSPOSED):
            inputs = weight.shape[0] // groups
            matrices = matrices.reshape(groups, outputs, inputs, -1).transpose(1, 2)
        # A parametrization keeps the strides that it is given, and torch's fused weight norm reads transposed
        # ones wrongly.
        value = matrices.reshape(weight.shape).to(weight).contiguous()
        if isinstance(weight, nn.Parameter):
            weight.copy_(value)
        else:
            self.module.weight = value

    @torch.no_grad()
    def multiply_weight_(self, factor: float | Tensor) -> None:
        """Multiply the (effective) weight by `factor`."""
        if isinstance(self._weight, nn.Parameter):
            self._weight.mul_(factor)
        else:
            self.module.weight = self._weight * factor

    @property
    def _weight(self) -> Tensor:
        weight = self.module.weight
        if not isinstance(weight, Tensor):
            raise TypeError(f"{self.name}.weight is a {type(weight).__name__}, not a tensor")
        return weight

    @property
    def _groups(self) -> int:
        return self.module.groups if isinstance(self.module, (*_CONVOLUTIONS, *_TRANSPOSED)) else 1

    @property
    def _kernel(self) -> int:
        return math.prod(self._weight.shape[2:])

    @property
    def _stride(self) -> int:
        return math.prod(self.module.stride) if isinstance(self.module, _TRANSPOSED) else 1


def weighted_layers(model: nn.Module, seed: int, gain: float) -> list[WeightedLayer]:
    """Return the weighted layers in the order of ``model.modules()``; the last one has gain 1.

    The generator of a layer depends on `seed` and on its ordinal among the weighted layers alone, so that two
    models that differ by other layers between draw the same numbers. A weight shared with an earlier layer is
    left out, yet counted.
    """
    found = [(name, m) for name, m in model.named_modules() if isinstance(m, _WEIGHTED)]
    if not found:
        raise ArgumentError(
            explain(
                "initialize_",
                "`model` must have a linear layer or a convolution",
                f"a {type(model).__name__} without one",
            )
        )
    layers: list[WeightedLayer] = []
    seen: set[int] = set()
    for ordinal, (name, module) in enumerate(found):
        if isinstance(module._parameters.get("weight"), UninitializedParameter):
            raise ArgumentError(
                explain(
                    "initialize_",
                    "every weight must have its shape",
                    f"a lazy layer {name!r} that has seen no data",
                    "run one batch through the model first",
                )
            )
        key = id(module._parameters["weight"]) if "weight" in module._parameters else id(module)
        if key not in seen:
            seen.add(key)
            factor = 1.0 if ordinal == len(found) - 1 else gain
            layers.append(WeightedLayer(name, module, factor, _generator(seed, ordinal)))
    return layers


@torch.no_grad()
def zero_biases_(model: nn.Module) -> None:
    """Set the biases of all weighted layers to zero."""
    for module in model.modules():
        if isinstance(module, _WEIGHTED) and module.bias is not None:
            module.bias.zero_()


def _generator(seed: int, ordinal: int) -> torch.Generator:
    # Torch's generator keeps 32 bits of its seed: neighbouring pairs are mixed here, not there.
    mixed = np.random.SeedSequence([seed, ordinal]).generate_state(1, np.uint32)
    return torch.Generator().manual_seed(int(mixed[0]))
