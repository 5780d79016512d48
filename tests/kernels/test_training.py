"""Whole trainings: what the kernels' rounding comes to after many steps, and after one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import normwise as nw
from normwise import functional
from normwise.kernels.registry import recorded

RATE = 0.4


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """torch's own sums depend on the threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Masked(nn.Module):
    """Dropout by a mask from outside: that of normwise's for the same state of torch's generator."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        ones = torch.ones_like(x.detach())
        return x * functional.dropout(ones, RATE, training=True)


class Residual(nn.Module):
    """Convolution and norm beside a shortcut, then ReLU."""

    def __init__(self, norm: nn.Module, fused: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm = norm
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        out: Tensor = self.norm(y, x) if self.fused else torch.relu(self.norm(y) + x)
        return out


def perceptron(fused: bool) -> nn.Module:
    parts: list[nn.Module] = []
    for inner in (12, 33, 33):
        parts.append(nn.Linear(inner, 33, bias=False))
        if fused:
            parts.append(nw.BatchNormAct1d(33, activation="relu", dropout=RATE))
        else:
            parts += [nn.BatchNorm1d(33), nn.ReLU(), Masked()]
    return nn.Sequential(*parts, nn.Linear(33, 4))


def convolutional(fused: bool) -> nn.Module:
    stem = nn.Conv2d(3, 8, 3, padding=1)
    if fused:
        first: list[nn.Module] = [nw.GroupNormAct(2, 8, activation="silu")]
        block = Residual(nw.BatchNormAct2d(8, activation="relu"), fused=True)
        last: list[nn.Module] = [nw.LayerNormAct((8, 5, 5), activation="relu", dropout=RATE)]
    else:
        first = [nn.GroupNorm(2, 8), nn.SiLU()]
        block = Residual(nn.BatchNorm2d(8), fused=False)
        last = [nn.LayerNorm((8, 5, 5)), nn.ReLU(), Masked()]
    return nn.Sequential(stem, *first, block, *last, nn.Flatten(), nn.Linear(200, 4))


NETWORKS = {"perceptron": (perceptron, (12,)), "convolutional": (convolutional, (3, 5, 5))}


def pair(network: str, dtype: torch.dtype, seed: int) -> tuple[nn.Module, nn.Module, Tensor, Tensor]:
    """The fused network, torch's with the same parameters, and a batch."""
    build, shape = NETWORKS[network]
    torch.manual_seed(seed)
    ours, torchs = build(True).to(dtype), build(False).to(dtype)
    with torch.no_grad():
        for mine, theirs in zip(ours.parameters(), torchs.parameters(), strict=True):
            mine.copy_(theirs)
    return ours, torchs, torch.randn(30, *shape, dtype=dtype), torch.randint(4, (30,))


def train(model: nn.Module, x: Tensor, target: Tensor, steps: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for step in range(steps):
        torch.manual_seed(step)  # of the masks
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), target).backward()
        optimizer.step()


@pytest.mark.parametrize("network", list(NETWORKS))
def test_after_200_steps_in_float64_the_parameters_are_torchs(network: str, binding: str) -> None:
    ours, torchs, x, target = pair(network, torch.float64, 0)
    start = [p.detach().clone() for p in torchs.parameters()]
    with nw.use_backend(binding):
        with recorded() as choices:
            train(ours, x, target, 200)
        train(torchs, x, target, 200)
    assert {choice.backend for choice in choices} == {binding}
    moved = max(float((a - b).detach().abs().max()) for a, b in zip(start, torchs.parameters(), strict=True))
    assert moved > 0.1
    for mine, theirs in zip(ours.parameters(), torchs.parameters(), strict=True):
        assert float((mine - theirs).detach().abs().max()) < 1e-9
    counted = "num_batches_skipped"  # which torch does not
    kept = [buffer for name, buffer in ours.named_buffers() if not name.endswith(counted)]
    for mine, theirs in zip(kept, torchs.buffers(), strict=True):
        assert float((mine - theirs).detach().abs().max()) < 1e-9


@pytest.mark.parametrize("network", list(NETWORKS))
def test_the_error_of_a_step_in_float32_is_at_most_twice_torchs(network: str, binding: str) -> None:
    ours_error = torchs_error = 0.0
    with nw.use_backend(binding):
        for seed in range(5):
            _, exact, x, target = pair(network, torch.float64, seed)
            ours, torchs, *_ = pair(network, torch.float32, seed)
            with torch.no_grad():
                for model in (ours, torchs):
                    for single, double in zip(model.parameters(), exact.parameters(), strict=True):
                        single.copy_(double)
                for single, double in zip(torchs.parameters(), exact.parameters(), strict=True):
                    double.copy_(single)
            x = x.float()
            train(exact, x.double(), target, 1)
            for model in (ours, torchs):
                train(model, x, target, 1)
            for mine, theirs, right in zip(
                ours.parameters(), torchs.parameters(), exact.parameters(), strict=True
            ):
                # The gradients are left from the step: beside them, storing a parameter rounds more than a kernel does.
                ours_error += float((mine.grad.double() - right.grad).square().sum())
                torchs_error += float((theirs.grad.double() - right.grad).square().sum())
    assert ours_error <= 4 * torchs_error
