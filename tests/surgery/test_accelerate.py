"""Layers one by one, and chains of them in a Sequential."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn

import normwise as nw
from normwise.errors import ArgumentError

Same = Callable[..., None]
Stir = Callable[[nn.Module], nn.Module]

FLAT, LINE, PLANE, SPACE = (5, 6), (4, 6, 5), (3, 6, 4, 5), (2, 6, 2, 3, 4)
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "BatchNorm1d": (lambda: nn.BatchNorm1d(6), FLAT),
    "BatchNorm1d, positions": (lambda: nn.BatchNorm1d(6, momentum=None), LINE),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(6, eps=0.1, momentum=0.7), PLANE),
    "BatchNorm2d, no affine": (lambda: nn.BatchNorm2d(6, affine=False), PLANE),
    "BatchNorm2d, untracked": (lambda: nn.BatchNorm2d(6, track_running_stats=False), PLANE),
    "BatchNorm2d, no bias": (lambda: nn.BatchNorm2d(6, bias=False), PLANE),
    "BatchNorm3d": (lambda: nn.BatchNorm3d(6), SPACE),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(6), LINE),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(6, affine=True, track_running_stats=True), PLANE),
    "InstanceNorm3d": (lambda: nn.InstanceNorm3d(6, affine=True), SPACE),
    "GroupNorm": (lambda: nn.GroupNorm(3, 6, eps=1e-3), PLANE),
    "GroupNorm, no affine": (lambda: nn.GroupNorm(2, 6, affine=False), FLAT),
    "LayerNorm": (lambda: nn.LayerNorm(5), LINE),
    "LayerNorm, two axes, no bias": (lambda: nn.LayerNorm([4, 5], bias=False), PLANE),
    "RMSNorm": (lambda: nn.RMSNorm(5), LINE),
    "RMSNorm, eps, no affine": (lambda: nn.RMSNorm(5, eps=0.1, elementwise_affine=False), LINE),
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def test_the_comparison_of_these_tests_can_fail(same: Same) -> None:
    model, x = nn.Sequential(nn.Linear(3, 3), nn.Tanh()), torch.randn(4, 3)
    same(model, model, x)
    with pytest.raises(AssertionError):
        same(model, copy.deepcopy(model), x)  # other objects
    with pytest.raises(AssertionError):
        same(model, nn.Sequential(model[0], nn.Sigmoid()), x)  # other numbers


@pytest.mark.parametrize("name", LAYERS)
def test_single_layers(name: str, same: Same, stir: Stir) -> None:
    make, shape = LAYERS[name]
    old = stir(nn.Sequential(make()))
    new, edits = nw.accelerate(old)
    kind = name.split(",")[0]
    assert type(new[0]) is getattr(nw, kind)
    assert type(old[0]) is getattr(nn, kind)
    assert repr(new) == repr(old)
    assert [tuple(edit) for edit in edits] == [("0", f"nn.{kind}", f"nw.{kind}", "the same operation")]
    same(old, new, torch.randn(shape))


@pytest.mark.parametrize("name", LAYERS)
def test_with_an_activation(name: str, same: Same, stir: Stir) -> None:
    make, shape = LAYERS[name]
    old = stir(nn.Sequential(make(), nn.SiLU()))
    new, edits = nw.accelerate(old)
    kind = name.split(",")[0].replace("Norm", "NormAct")
    assert type(new[0]) is getattr(nw, kind)
    assert new[0].activation == "silu"
    assert type(new[1]) is nn.Identity
    assert edits["0"].after == f"nw.{kind}(activation='silu')"
    same(old, new, torch.randn(shape))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(name: str, same: Same, stir: Stir) -> None:
    old = stir(
        nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Identity(), ACTIVATIONS[name](), nn.Dropout(0.0))
    )
    new, _ = nw.accelerate(old)
    assert (new[1].activation, new[1].dropout) == (name, 0.0)
    assert [type(new[i]) for i in (2, 3, 4)] == [nn.Identity] * 3
    same(old, new, torch.randn(FLAT))


def test_dropout_is_fused_wherever_it_is_last(same: Same) -> None:
    rows = [
        (nn.Sequential(nn.LayerNorm(6), nn.Dropout(0.3), nn.ReLU()), ("none", 0.3), nn.ReLU),
        (
            nn.Sequential(nn.LayerNorm(6), nn.Tanh(), nn.Dropout(0.3, inplace=True)),
            ("tanh", 0.3),
            nn.Identity,
        ),
    ]
    for old, finish, third in rows:
        new, _ = nw.accelerate(old)
        assert (new[0].activation, new[0].dropout) == finish
        assert type(new[2]) is third
        same(old, new, torch.randn(FLAT), modes=(False,))
        y = new(torch.ones(400, 6) * torch.arange(6.0))
        assert 0.2 < (y[:, 5] == 0).double().mean() < 0.4


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.LeakyReLU(0.2),
        lambda: nn.GELU(approximate="tanh"),
        nn.PReLU,
        nn.ELU,
        lambda: nn.Softmax(dim=1),
        lambda: nn.Dropout1d(0.0),
    ],
)
def test_other_activations_stay_apart(make: Callable[[], nn.Module], same: Same) -> None:
    activation = make()
    old = nn.Sequential(nn.BatchNorm1d(6), activation)
    new, edits = nw.accelerate(old)
    assert type(new[0]) is nw.BatchNorm1d
    assert type(new[1]) is type(activation)
    assert edits["0"].why == "the same operation"
    same(old, new, torch.randn(FLAT), modes=(True,))


def test_a_perceptron_with_dropout(same: Same, stir: Stir) -> None:
    old = stir(
        nn.Sequential(
            nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5)),
            nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(0.5)),
            nn.Linear(8, 2),
        )
    )
    new, edits = nw.accelerate(old)
    assert (
        str(edits)
        == """\
accelerate: 7 places changed, 0 left alone
name  before          after                                              why
0.0   nn.Linear       nw.Linear                                          the same operation
0.1   nn.BatchNorm1d  nw.BatchNormAct1d(activation='relu', dropout=0.5)  `0.2` and `0.3` in the same pass
0.2   nn.ReLU         nn.Identity                                        done by `0.1`
0.3   nn.Dropout      nn.Identity                                        done by `0.1`
1.0   nn.Linear       nw.Linear                                          the same operation
1.2   nn.Dropout      nw.Dropout                                         the same operation
2     nn.Linear       nw.Linear                                          the same operation"""
    )
    assert repr(edits) == str(edits)
    assert edits.notes == ()
    same(old, new, torch.randn(FLAT), modes=(False,))


def test_modes_and_flags_are_kept() -> None:
    old = nn.Sequential(nn.BatchNorm1d(6), nn.ReLU(), nn.BatchNorm1d(6), nn.ReLU())
    old[0].eval()
    old[1].eval()
    old[2].weight.requires_grad_(False)
    old[2].momentum = 0.4
    old[2].note = "mine"
    new, _ = nw.accelerate(old)
    assert [module.training for module in new] == [False, False, True, True]
    assert not new[2].weight.requires_grad
    assert (new[2].momentum, new[2].note) == (0.4, "mine")


def test_what_is_not_saved_stays_unsaved(same: Same) -> None:
    old = nn.Sequential(nn.BatchNorm1d(6), nn.ReLU())
    old[0].register_buffer("running_mean", torch.zeros(6), persistent=False)
    new, _ = nw.accelerate(old)
    assert "0.running_mean" not in new.state_dict()
    assert new[0].running_mean is old[0].running_mean
    same(old, new, torch.randn(FLAT))


def test_chains_of_two_modes_are_not_fused() -> None:
    old = nn.Sequential(nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5))
    old[0].eval()
    new, edits = nw.accelerate(old)
    assert type(new[0]) is nw.BatchNorm1d
    assert edits["0"].why == "the same operation; not fused: `1` is in another mode"
    old.train()[2].eval()
    new, edits = nw.accelerate(old)
    assert edits["0"].after == "nw.BatchNormAct1d(activation='relu')"
    assert type(new[2]) is nw.Dropout


def test_dtype_and_device_are_kept() -> None:
    old = nn.Sequential(nn.BatchNorm1d(6, dtype=torch.bfloat16), nn.ReLU(), nn.LayerNorm(6, device="meta"))
    new, _ = nw.accelerate(old)
    assert [type(module) for module in new] == [nw.BatchNormAct1d, nn.Identity, nw.LayerNorm]
    for module in new.modules():
        for key, tensor in module.state_dict(keep_vars=True).items():
            theirs = old.state_dict(keep_vars=True)
            assert any(tensor is other for other in theirs.values()), key
    assert {p.dtype for p in new[0].parameters()} == {torch.bfloat16}
    assert {p.device.type for p in new[2].parameters()} == {"meta"}


def test_an_optimizer_made_before_keeps_training(stir: Stir) -> None:
    # Without a bias before the normalization: its gradient is rounding alone, which Adam makes large.
    old = stir(nn.Sequential(nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1)))
    twin = copy.deepcopy(old)
    x, y = torch.randn(16, 6), torch.randn(16, 1)
    optimizers = [torch.optim.Adam(model.parameters(), lr=0.01) for model in (old, twin)]
    new, _ = nw.accelerate(old)
    for model, optimizer in zip((new, twin), optimizers, strict=True):
        for _ in range(20):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
    assert not torch.equal(new[0].weight, nn.Linear(6, 8).weight)
    for key, value in twin.state_dict().items():
        torch.testing.assert_close(new.state_dict()[key], value, rtol=1e-9, atol=1e-12, msg=key)


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copies_and_pickles_compute_the_same(how: str, stir: Stir) -> None:
    new, _ = nw.accelerate(stir(nn.Sequential(nn.Linear(6, 6), nn.GroupNorm(2, 6), nn.GELU())))
    other = copy.deepcopy(new) if how == "deepcopy" else pickle.loads(pickle.dumps(new))
    x = torch.randn(FLAT)
    assert torch.equal(new(x), other(x))
    other.load_state_dict(new.state_dict(), strict=True)


def test_the_old_model_is_left_as_it_was_unless_in_place() -> None:
    old = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU())
    kept = list(old)
    new, _ = nw.accelerate(old)
    assert new is not old
    assert all(now is then for now, then in zip(old, kept, strict=True))
    same_one, edits = nw.accelerate(old, inplace=True)
    assert same_one is old
    assert type(old[1]) is nw.BatchNormAct1d
    assert len(edits) == 3


def test_twice_is_once() -> None:
    new, _ = nw.accelerate(nn.Sequential(nn.BatchNorm1d(6), nn.ReLU(), nn.LayerNorm(6), nn.Dropout()))
    again, edits = nw.accelerate(new)
    assert repr(again) == repr(new)
    assert edits.entries == ()
    assert str(edits) == "accelerate: 0 places changed, 0 left alone"


def test_a_layer_that_is_the_whole_model(same: Same) -> None:
    old = nn.BatchNorm2d(6)
    new, edits = nw.accelerate(old)
    assert type(new) is nw.BatchNorm2d
    assert "(the model)  nn.BatchNorm2d  nw.BatchNorm2d" in str(edits)
    same(old, new, torch.randn(PLANE))
    with pytest.raises(ArgumentError, match=r"whole model.*in place.*Got a BatchNorm2d.*inplace=False"):
        nw.accelerate(old, inplace=True)
