"""EvoNorm-B0: values, gradients, the running variance and timm's names."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from normwise import layers as nw
from normwise.testing import assert_close

SHAPES = {"flat": (6, 3), "1": (5, 3, 4), "2": (4, 3, 2, 5), "3": (3, 3, 2, 3, 2)}


def batch(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64) * 2 + 1


def expected(layer: torch.nn.Module, x: np.ndarray, batch_var: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The output, and where the batch's deviation is the larger denominator."""
    shape = (1, -1, *(1,) * (x.ndim - 2))
    weight, bias, v = (p.detach().numpy().reshape(shape) for p in (layer.weight, layer.bias, layer.v))
    places = tuple(range(2, x.ndim))
    instance = x.var(places, keepdims=True) if places else np.zeros_like(x)
    left = np.sqrt(batch_var.reshape(shape) + layer.eps)
    right = v * x + np.sqrt(instance + layer.eps)
    return x / np.maximum(left, right) * weight + bias, left > right


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("momentum", [0.3, None])
@pytest.mark.parametrize("eps", [1e-3, 0.5])
def test_values(name: str, momentum: float | None, eps: float) -> None:
    rank, shape = 1 if name == "flat" else int(name), SHAPES[name]
    layer = getattr(nw, f"EvoNorm{rank}dB0")(3, momentum=momentum, eps=eps).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
        layer.bias.copy_(torch.tensor([1.0, 0.0, -1.0]))
        layer.v.copy_(torch.tensor([1.0, -0.7, 0.4]))
    axes, running = (0, *range(2, len(shape))), np.ones(3)
    for step in range(2):
        x = batch(shape, step).numpy()
        y, by_batch = expected(layer, x, x.var(axes))
        assert 0 < by_batch.mean() < 1  # both sides of the maximum are there
        assert_close(layer(torch.from_numpy(x)), torch.from_numpy(y))
        running = running + (momentum or 1 / (step + 1)) * (x.var(axes, ddof=1) - running)
        assert_close(layer.running_var, torch.from_numpy(running))
    x = batch(shape, 5).numpy()
    assert_close(layer.eval()(torch.from_numpy(x)), torch.from_numpy(expected(layer, x, running)[0]))


def test_gradients_by_differences() -> None:
    layer = nw.EvoNorm1dB0(3).double()
    x, g = batch(SHAPES["1"]), batch(SHAPES["1"], 9)
    x.requires_grad_()
    layer(x).backward(g)
    values, step = x.detach().numpy(), 1e-6
    slopes = np.zeros_like(values)
    for place in np.ndindex(values.shape):
        moved = [values.copy(), values.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        above, below = (expected(layer, m, m.var((0, 2)))[0] for m in moved)
        slopes[place] = ((above - below) * g.numpy()).sum() / (2 * step)
    assert np.abs(x.grad.numpy() - slopes).max() < 1e-7


def test_names_are_timms() -> None:
    assert list(nw.EvoNorm2dB0(3).state_dict()) == ["weight", "bias", "v", "running_var"]
    assert list(nw.EvoNorm2dB0(3, momentum=None).state_dict()) == [
        "weight",
        "bias",
        "v",
        "running_var",
        "num_batches_tracked",
    ]
    layer = nw.EvoNorm2dB0(3)
    assert layer.eps == 1e-3
    # A plain dict has no version of the format: nothing is added to it, nothing is missed.
    layer.load_state_dict({key: torch.full((3,), 2.0) for key in ("weight", "bias", "v", "running_var")})
    assert bool((layer.running_var == 2).all())


def test_an_average_goes_on_after_loading() -> None:
    layer, other = (nw.EvoNorm1dB0(3, momentum=None).double() for _ in range(2))
    layer(batch(SHAPES["1"], 0))
    other.load_state_dict(layer.state_dict())
    for each in (layer, other):
        each(batch(SHAPES["1"], 1))
    assert torch.equal(layer.running_var, other.running_var)
    mean = torch.stack([batch(SHAPES["1"], seed).transpose(0, 1).flatten(1).var(1) for seed in (0, 1)]).mean(
        0
    )
    assert_close(other.running_var, mean)
