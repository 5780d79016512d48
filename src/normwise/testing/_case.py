"""What the contract suite needs to know about a layer, and how it runs one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from normwise.kernels.registry import recorded


@dataclass(frozen=True)
class LayerCase:
    """A layer under contract.

    Attributes:
        make: builds the layer with its default initialisation; called many times.
        shape: of a small input, two samples or more.
        twin: builds torch's layer of the same meaning, where there is one.
        refuses: feature → the exception with which the layer must refuse it.
        changes_shape: the output has another shape than the input.
        backends: feature → the back end on which normwise's operations in the layer must run; start from
            `normwise.testing.BACKENDS`. None checks nothing, for layers without such operations.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    twin: Callable[[], nn.Module] | None = None
    refuses: Mapping[str, type[Exception]] = field(default_factory=dict)
    changes_shape: bool = False
    backends: Mapping[str, str] | None = None

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


def run(layer: Callable[..., Tensor], *inputs: Tensor, seed: int = 0) -> Tensor:
    """Call with the same random numbers each time, so that dropout is a function; the caller's stay."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return layer(*inputs)


def draws(case: LayerCase) -> bool:
    """Tell whether the layer draws random numbers: masks differ between dtypes, layouts and back ends."""
    with torch.random.fork_rng(devices=[]), recorded():  # what is recorded around is the caller's
        layer = case.layer()
        torch.manual_seed(0)
        layer(case.input())
        after = torch.get_rng_state()
        torch.manual_seed(0)
        return not torch.equal(after, torch.get_rng_state())


def cotangent(output: Tensor) -> Tensor:
    """A random cotangent: the gradient of a sum is zero behind a normalization and tests nothing."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output.dtype)


def step(layer: nn.Module, input: Tensor, gradient: Tensor | None = None) -> dict[str, Tensor]:
    """One pass forward and backward: the output, the gradients and the buffers by name."""
    layer.zero_grad(set_to_none=True)
    input = input.requires_grad_()
    output = run(layer, input)
    result = {"output": output.detach()}
    if output.requires_grad:
        output.backward(cotangent(output) if gradient is None else gradient)  # type: ignore[no-untyped-call]
    for name, parameter in layer.named_parameters():
        if parameter.grad is not None:
            result[f"gradient of {name}"] = parameter.grad
    for name, buffer in layer.named_buffers():
        result[f"buffer {name}"] = buffer.clone()
    if input.grad is not None:
        result["gradient of input"] = input.grad
    return result


def require(condition: bool, message: str) -> None:
    """Raise `AssertionError` with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)
