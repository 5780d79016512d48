"""Orthogonal weights: orthonormal rows, whatever trains them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from normwise.errors import ArgumentError, UnknownNameError
from normwise.layers import orthogonal, weight_norm
from normwise.testing import assert_close

MAPS = ["matrix_exp", "cayley", "householder"]
MODULES = {
    "wide": (lambda: nn.Linear(6, 4), 1),
    "tall": (lambda: nn.Linear(4, 6), 1),
    "square": (lambda: nn.Linear(5, 5), 1),
    "Conv2d": (lambda: nn.Conv2d(4, 6, 3), 1),
    "Conv1d, tall": (lambda: nn.Conv1d(2, 6, 2), 1),
    "Conv2d in groups": (lambda: nn.Conv2d(4, 6, 3, groups=2), 2),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3), 1),
    "ConvTranspose2d in groups": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), 2),
}


def matrices(module: nn.Module, groups: int) -> torch.Tensor:
    """(groups, units, fan-in), in float64."""
    weight = module.weight.detach().double()
    if isinstance(module, nn.ConvTranspose2d):
        return torch.stack([part.transpose(0, 1).flatten(1) for part in weight.chunk(groups)])
    return torch.stack([part.flatten(1) for part in weight.chunk(groups)])


def assert_orthonormal(module: nn.Module, groups: int = 1, atol: float = 3e-6) -> None:
    for matrix in matrices(module, groups):
        small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
        assert (small - torch.eye(len(small))).abs().max() < atol


@pytest.mark.parametrize("orthogonal_map", [*MAPS, None])
@pytest.mark.parametrize("name", MODULES)
def test_training_leaves_it_orthonormal(name: str, orthogonal_map: str | None) -> None:
    torch.manual_seed(0)
    make, groups = MODULES[name]
    module = orthogonal(make(), orthogonal_map=orthogonal_map)
    assert_orthonormal(module, groups)
    before = module.weight.detach().clone()
    # Weight decay is what torch's reflections do not survive.
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.05, weight_decay=0.1)
    cotangent = torch.randn_like(before)
    for _ in range(5):
        optimizer.zero_grad()
        module.weight.backward(cotangent)
        optimizer.step()
    assert_orthonormal(module, groups, atol=1e-5)
    # Along the gradient: nothing is held at the start, and it goes downhill.
    assert ((module.weight - before) * cotangent).sum() < -0.05


def test_torchs_reflections_decay_to_zero() -> None:
    torch.manual_seed(0)
    module = parametrizations.orthogonal(nn.Linear(4, 6), orthogonal_map="householder")
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.05, weight_decay=0.1)
    module.weight.backward(torch.randn(6, 4))
    optimizer.step()
    assert module.weight.abs().max() == 0


@pytest.mark.parametrize("orthogonal_map", MAPS)
@pytest.mark.parametrize("name", MODULES)
def test_it_starts_at_an_orthogonal_weight(name: str, orthogonal_map: str) -> None:
    torch.manual_seed(0)
    make, _ = MODULES[name]
    first = orthogonal(make())
    module = make()
    with torch.no_grad():
        module.weight.copy_(first.weight)
    orthogonal(module, orthogonal_map=orthogonal_map)
    assert_close(module.weight, first.weight, factor=2)
    module.weight = -first.weight.detach()
    assert_close(module.weight, -first.weight, factor=2)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_weight_without_rank_becomes_an_orthogonal_one(name: str, rank: int) -> None:
    make, groups = MODULES[name]
    module = make()
    nn.init.constant_(module.weight, float(rank))
    assert_orthonormal(orthogonal(module), groups)


def test_torchs_stays_zero() -> None:
    module = nn.Linear(4, 4)
    nn.init.zeros_(module.weight)
    assert parametrizations.orthogonal(module).weight.abs().max() == 0


@pytest.mark.parametrize("orthogonal_map", MAPS)
@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_checkpoints_are_torchs(shape: tuple[int, int], orthogonal_map: str) -> None:
    torch.manual_seed(0)
    theirs = parametrizations.orthogonal(nn.Linear(*shape), orthogonal_map=orthogonal_map)
    with torch.no_grad():  # below the diagonal: there torch's reflections can be trained
        theirs.parametrizations.weight.original.add_(torch.randn(shape[::-1]).tril(-1) * 0.3)
    ours = orthogonal(nn.Linear(*shape), orthogonal_map=orthogonal_map)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert_close(ours.weight, theirs.weight, factor=2)
    cotangent = torch.randn(shape[::-1])
    gradients = []
    for module in (ours, theirs):
        module.weight.backward(cotangent)
        gradients.append(module.parametrizations.weight.original.grad)
    assert_close(*gradients, factor=8)
    theirs.load_state_dict(ours.state_dict(), strict=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("orthogonal_map", MAPS)
def test_narrow_dtypes(orthogonal_map: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    module = orthogonal(nn.Linear(6, 4, dtype=dtype), orthogonal_map=orthogonal_map)
    assert module.weight.dtype == dtype
    # The base and the weight are rounded: a few units in the last place.
    assert_orthonormal(module, atol=8 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("orthogonal_map", MAPS)
def test_autocast_does_not_make_it_less_orthogonal(orthogonal_map: str) -> None:
    torch.manual_seed(0)
    module = orthogonal(nn.Linear(6, 4), orthogonal_map=orthogonal_map)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weight = module.weight
    assert torch.equal(weight, module.weight)


def test_nothing_is_drawn() -> None:
    before = torch.get_rng_state()
    module = nn.Linear(3, 5)
    torch.set_rng_state(before)
    orthogonal(module)
    assert torch.equal(torch.get_rng_state(), before)


def test_refusals() -> None:
    with pytest.raises(ArgumentError, match="must not be orthogonal yet"):
        orthogonal(orthogonal(nn.Linear(3, 2)))
    with pytest.raises(UnknownNameError, match=r"'householde'. Did you mean 'householder'"):
        orthogonal(nn.Linear(3, 2), orthogonal_map="householde")
    with pytest.raises(ArgumentError, match="must be a plain parameter"):
        orthogonal(weight_norm(nn.Linear(3, 2)))
    with pytest.raises(ArgumentError, match="2 axes or more"):
        orthogonal(nn.Linear(3, 2), "bias")
    with pytest.raises(ArgumentError, match=r"must be real. Got torch.complex64"):
        orthogonal(nn.Linear(3, 2, dtype=torch.complex64))
