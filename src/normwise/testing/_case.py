"""What the contract suite needs to know about a layer, and how it runs one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LayerCase:
    """A layer under contract.

    Attributes:
        make: builds the layer with its default initialisation; called many times.
        shape: of a small input, two samples or more.
        twin: builds torch's layer of the same meaning, where there is one.
        refuses: feature → the exception with which the layer must refuse it.
        changes_shape: the output has another shape than the input.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    twin: Callable[[], nn.Module] | None = None
    refuses: Mapping[str, type[Exception]] = field(default_factory=dict)
    changes_shape: bool = False

    def layer(self, dtype: torch.dtype = torch.float32, *, training: bool = True) -> nn.Module:
        """A layer with random parameters and running statistics, the same at every call."""
        return randomized(self.make()).to(dtype).train(training)

    def input(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
        """A random input with a mean that is not zero, the same for a seed."""
        generator = torch.Generator().manual_seed(seed)
        values = torch.randn(self.shape, generator=generator, dtype=torch.float64) * 1.5 + 0.5
        return values.to(dtype)


def randomized(layer: nn.Module) -> nn.Module:
    """Give parameters and buffers values in 0.5 … 1.5: ones would hide a missing multiplication."""
    generator = torch.Generator().manual_seed(1)
    state = {
        name: 0.5 + torch.rand(value.shape, generator=generator).to(value.dtype)
        if value.is_floating_point()
        else value.clone()
        for name, value in layer.state_dict().items()
    }
    layer.load_state_dict(state)
    return layer


def run(layer: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Call with the same random numbers each time, so that dropout is a function; the caller's stay."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return layer(*inputs)


def cotangent(output: Tensor) -> Tensor:
    """A random cotangent: the gradient of a sum is zero behind a normalization and tests nothing."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output.dtype)


def require(condition: bool, message: str) -> None:
    """Raise `AssertionError` with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)
