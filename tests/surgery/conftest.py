"""What every swap must leave as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

Same = Callable[..., None]


def run(model: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor | None], dict[str, Tensor]]:
    """The output, the gradients of input and parameters, the state afterwards; the model is as before."""
    kept = [buffer.clone() for buffer in model.buffers()]
    x = x.detach().clone().requires_grad_()
    y = model(x)
    cotangent = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
    wanted = [p for p in model.parameters() if p.requires_grad]
    gradients = list(torch.autograd.grad(y, [x, *wanted], cotangent, allow_unused=True))
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        for buffer, value in zip(model.buffers(), kept, strict=True):
            buffer.copy_(value)
    return y.detach(), gradients, state


def assert_same(
    old: nn.Module, new: nn.Module, x: Tensor, *, modes: tuple[bool, ...] = (True, False)
) -> None:
    """Assert equal outputs, gradients and buffers in float64 and the very same state."""
    assert list(old.state_dict()) == list(new.state_dict())
    for part in ("named_parameters", "named_buffers"):
        theirs, mine = dict(getattr(old, part)()), dict(getattr(new, part)())
        # The keys of the state are all; ours may count for themselves, and what they counted is no part of torch's.
        counted = {name for name in theirs if name.endswith("num_batches_skipped")}
        assert theirs.keys() - counted <= mine.keys()
        assert all(theirs[name] is mine[name] for name in theirs.keys() & mine.keys())
    flags = [(module, module.training) for model in (old, new) for module in model.modules()]
    for training in modes:
        expected, actual = (run(model.train(training), x) for model in (old, new))
        torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-11)
    for module, flag in flags:
        module.training = flag


@pytest.fixture(scope="session")
def same() -> Same:
    return assert_same


@pytest.fixture(scope="session")
def measure() -> Callable[..., object]:
    return run


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """All in float64, so that equal is equal to many digits; and every test from the same random numbers."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def stirred(model: nn.Module) -> nn.Module:
    """The model with parameters and running statistics that are not those of a fresh one."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.mul_(1.7)
            elif buffer.is_floating_point():
                buffer.add_(0.2)
    return model


@pytest.fixture(scope="session")
def stir() -> Callable[[nn.Module], nn.Module]:
    return stirred
