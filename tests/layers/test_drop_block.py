"""DropBlock: where blocks lie, how much they take, what is left of the mean."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from normwise.errors import ArgumentError
from normwise.layers import DropBlock1d, DropBlock2d, DropBlock3d, monte_carlo
from normwise.layers.drop_block import block_rate
from normwise.testing import FEATURES, LayerCase, check_layer

LAYERS = {1: DropBlock1d, 2: DropBlock2d, 3: DropBlock3d}
# Sizes and block, odd and even, as large as the map and larger.
MAPS = [
    ((9,), 3),
    ((8,), 4),
    ((5, 7), 2),
    ((12, 9), 5),
    ((6, 6), 6),
    ((4, 6), 5),
    ((4, 5, 3), 2),
    ((3, 3), 9),
]


def exact_part(gamma: float, sizes: tuple[int, ...], block: int) -> float:
    """The expected part that is dropped, from every block that could lie on every position."""
    blocks = [min(block, size) for size in sizes]
    starts = list(itertools.product(*(range(s - b + 1) for s, b in zip(sizes, blocks, strict=True))))
    parts = []
    for position in itertools.product(*(range(size) for size in sizes)):
        ways = sum(
            all(first <= x < first + b for x, first, b in zip(position, start, blocks, strict=True))
            for start in starts
        )
        parts.append(1 - (1 - gamma) ** ways)
    return float(np.mean(parts))


@pytest.mark.parametrize("p", [0.01, 0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize(("sizes", "block"), MAPS)
def test_the_expected_part_is_the_rate(sizes: tuple[int, ...], block: int, p: float) -> None:
    gamma = block_rate(torch.tensor(p), sizes, [min(block, size) for size in sizes]).item()
    assert exact_part(gamma, sizes, block) == pytest.approx(p, rel=1e-4)


def test_the_papers_rate_is_the_first_order() -> None:
    sizes, block = (14, 14), 7
    paper = 1e-3 / block**2 * (14 / (14 - block + 1)) ** 2
    assert block_rate(torch.tensor(1e-3), sizes, [7, 7]).item() == pytest.approx(paper, rel=2e-3)
    assert exact_part(0.3 / block**2 * (14 / 8) ** 2, sizes, block) == pytest.approx(0.243, abs=0.001)


@pytest.mark.parametrize(("sizes", "block"), MAPS)
def test_what_is_dropped_is_made_of_blocks(sizes: tuple[int, ...], block: int) -> None:
    torch.manual_seed(0)
    output = LAYERS[len(sizes)](0.3, block)(torch.ones(20, 10, *sizes)).numpy()
    dropped = output == 0
    assert 0 < dropped.mean() < 1
    blocks = [min(block, size) for size in sizes]
    for single in dropped.reshape(-1, *sizes):
        covered = np.zeros_like(single)
        for start in itertools.product(*(range(s - b + 1) for s, b in zip(sizes, blocks, strict=True))):
            place = tuple(slice(first, first + b) for first, b in zip(start, blocks, strict=True))
            if single[place].all():
                covered[place] = True
        assert (covered == single).all()


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_part_that_is_dropped(per_channel: bool) -> None:
    torch.manual_seed(0)
    maps = 4000
    shape = (maps, 1, 10, 12) if per_channel else (maps, 3, 10, 12)
    output = DropBlock2d(0.25, 4, per_channel=per_channel)(torch.ones(shape))
    parts = (output[:, 0] == 0).double().mean(dim=(1, 2))
    # The standard error of the mean over maps, measured; about 0.004.
    assert abs(parts.mean().item() - 0.25) < 4 * parts.std().item() / math.sqrt(maps)
    if not per_channel:
        assert torch.equal(output[:, 0], output[:, 1])
        assert torch.equal(output[:, 0], output[:, 2])


def test_channels_have_masks_of_their_own() -> None:
    torch.manual_seed(0)
    output = DropBlock2d(0.3, 3)(torch.ones(4, 2, 10, 10))
    assert not torch.equal(output[:, 0], output[:, 1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_mean_of_a_constant_stays(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    for p in (0.1, 0.5, 0.9):
        output = DropBlock2d(p, 3)(torch.full((4, 8, 9, 9), 3.0, dtype=dtype))
        assert output.double().mean().item() == pytest.approx(3.0, rel=2 * torch.finfo(dtype).eps)


def test_the_ends_of_the_range_and_blocks_of_one() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 6, 6, requires_grad=True)
    assert DropBlock2d(0.0)(x) is x
    assert DropBlock2d(0.9).eval()(x) is x
    nothing = DropBlock2d(1.0, 2)(x)
    assert nothing.abs().max() == 0
    nothing.backward(torch.randn_like(nothing))
    assert x.grad is not None
    assert x.grad.isfinite().all()
    whole = DropBlock2d(0.5, 100)(torch.ones(8, 8, 3, 4)).flatten(2)
    assert torch.equal(whole.amax(2), whole.amin(2))
    # Blocks of one are dropout: 20,000 draws, a standard error of 0.0035.
    assert abs((DropBlock1d(0.5, 1)(torch.ones(10, 20, 100)) == 0).double().mean().item() - 0.5) < 0.014


def test_a_seed_determines_it() -> None:
    x, masks = torch.ones(2, 3, 8, 8), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append(DropBlock2d(0.3, 3)(x))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_the_warmup() -> None:
    torch.manual_seed(0)
    layer, x = DropBlock2d(0.4, 2, warmup=4), torch.ones(100, 20, 8, 8)
    parts = []
    for _ in range(7):
        parts.append((layer(x) == 0).double().mean().item())
        layer.eval()(x)
        layer.train()
        with monte_carlo(nn.Sequential(layer)):
            layer.eval()(x)
        layer.train()
    # 2,000 maps of 64 positions, blocks of 4: a standard error of about 0.002.
    assert parts == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4], abs=0.008)
    assert layer.state_dict()["training_calls"] == 7
    resumed = DropBlock2d(0.4, 2, warmup=4)
    resumed.load_state_dict(layer.state_dict(), strict=True)
    assert (resumed(x) == 0).double().mean().item() == pytest.approx(0.4, abs=0.008)
    resumed.reset_parameters()
    assert torch.equal(resumed(x), x)
    assert not DropBlock2d(0.4).state_dict()


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_recomputation_counts_no_call_and_drops_the_same(reentrant: bool) -> None:
    layer = DropBlock2d(0.4, 2, warmup=4)
    for _ in range(2):
        layer(torch.ones(1, 1, 4, 4))
    twin, x = copy.deepcopy(layer), torch.randn(3, 2, 8, 8, requires_grad=True)
    cotangent, gradients = torch.randn(3, 2, 8, 8), []
    for run in (lambda: checkpoint(layer, x, use_reentrant=reentrant), lambda: twin(x)):
        torch.manual_seed(5)
        gradients.append(
            torch.autograd.grad(run(), x, cotangent)[0] if not reentrant else _backward(run(), x, cotangent)
        )
    assert torch.equal(*gradients)
    assert layer.training_calls == twin.training_calls == 3


def _backward(output: torch.Tensor, x: torch.Tensor, cotangent: torch.Tensor) -> torch.Tensor:
    x.grad = None
    output.backward(cotangent)  # a reentrant checkpoint takes no other call
    assert x.grad is not None
    return x.grad


@pytest.mark.parametrize("feature", [name for name in FEATURES if name != "meta"])
def test_contract_of_the_warmup(feature: str) -> None:
    check_layer(LayerCase(lambda: DropBlock2d(0.3, 3, warmup=2), (3, 6, 4, 5)), feature)


def test_refusals() -> None:
    with pytest.raises(ArgumentError, match=r"DropBlock2d: `p`.*Got 1\.5"):
        DropBlock2d(1.5)
    with pytest.raises(ArgumentError, match=r"DropBlock1d: `block_size` must be at least 1. Got 0"):
        DropBlock1d(0.1, 0)
    with pytest.raises(ArgumentError, match=r"`warmup` must be at least 0. Got -1"):
        DropBlock3d(0.1, warmup=-1)
    with pytest.raises(ArgumentError, match=r"DropBlock2d: expected 4D input. Got 3D"):
        DropBlock2d(0.1)(torch.ones(2, 3, 4))
