"""The way back."""

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
FLAT = (5, 6)


def perceptron() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(6, 6),
        nn.BatchNorm1d(6, momentum=None),
        nn.LeakyReLU(inplace=True),
        nn.Dropout(0, inplace=True),
        nn.Sequential(nn.LayerNorm(6, bias=False), nn.Identity(), nn.SiLU(inplace=True)),
        nn.RMSNorm(6),
        nn.Dropout(0.5),
        nn.GroupNorm(2, 6, affine=False),
    )


def unchanged(model: nn.Module) -> nn.Module:
    return model


def pickled(model: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("between", [unchanged, copy.deepcopy, pickled])
def test_there_and_back(between: Callable[[nn.Module], nn.Module], same: Same, stir: Stir) -> None:
    old = stir(perceptron())
    faster, there = nw.accelerate(old)
    between_them = between(faster)
    back, edits = nw.decelerate(between_them)
    assert repr(back) == repr(old)
    assert repr(faster) != repr(old)
    assert [type(module) for module in back.modules()] == [type(module) for module in old.modules()]
    assert [edit.name for edit in edits] == [edit.name for edit in there]
    assert [(edit.before, edit.after) for edit in edits] == [(edit.after, edit.before) for edit in there]
    same(between_them, back, torch.randn(FLAT), modes=(False,))
    assert list(back.state_dict()) == list(old.state_dict())
    x = torch.randn(FLAT)
    assert torch.equal(back.eval()(x), old.eval()(x))


def test_in_place_the_first_model_is_whole_again() -> None:
    model = perceptron()
    activation = model[2]
    text = repr(model)
    nw.accelerate(model, inplace=True)
    nw.decelerate(model, inplace=True)
    assert repr(model) == text
    assert model[2] is activation


def test_a_part_of_the_model_goes_back_alone() -> None:
    faster, _ = nw.accelerate(nn.Sequential(nn.Linear(6, 6), perceptron()))
    part, _ = nw.decelerate(faster[1][:4])
    assert repr(part) == repr(perceptron()[:4])


def test_a_place_whose_fused_layer_is_elsewhere() -> None:
    faster, _ = nw.accelerate(perceptron())
    part, edits = nw.decelerate(faster[2:4])
    assert [type(module) for module in part] == [nn.Identity, nn.Identity]
    assert {edit.why for edit in edits} == {"the fused layer that did its work is not in this model"}
    assert len(edits) == len(edits.left_alone) == 2


def test_modes_and_rates_of_the_meantime_are_kept() -> None:
    faster, _ = nw.accelerate(perceptron())
    faster.eval()
    faster[1].dropout = 0.125
    back, _ = nw.decelerate(faster)
    assert not any(module.training for module in back.modules())
    assert (back[3].p, back[3].inplace) == (0.125, True)


def test_fused_layers_of_ones_own() -> None:
    old = nn.Sequential(
        nw.BatchNormAct1d(6, activation="relu"), nw.LayerNorm1d(6), nw.Dropout(0.1), nn.Dropout(0.2)
    )
    new, edits = nw.decelerate(old)
    assert [type(module) for module in new] == [nw.BatchNormAct1d, nw.LayerNorm1d, nn.Dropout, nn.Dropout]
    assert [(edit.name, edit.why) for edit in edits] == [
        ("0", "it was not made by `accelerate`: there is no place for its activation"),
        ("1", "torch has no such layer"),
        ("2", "the same operation"),
    ]


def taken(model: nn.Sequential) -> None:
    model[2] = nn.Tanh()


def other_activation(model: nn.Sequential) -> None:
    model[1].activation = "tanh"


def hooked(model: nn.Sequential) -> None:
    model[2].register_forward_hook(lambda *_: None)


def new_dropout(model: nn.Sequential) -> None:
    model[4][0].dropout = 0.5


@pytest.mark.parametrize(
    ("change", "name", "why"),
    [
        (taken, "1", "a place that it had vacated is gone, or taken"),
        (other_activation, "1", "its activation was changed to 'tanh'"),
        (hooked, "1", "`2`: it has hooks"),
        (new_dropout, "4.0", "it was given a dropout, for which there is no place"),
    ],
)
def test_what_was_changed_since(change: Callable[[nn.Sequential], None], name: str, why: str) -> None:
    model, _ = nw.accelerate(perceptron())
    change(model)
    back, edits = nw.decelerate(model)
    assert edits[name].why == why
    assert not edits[name].changed
    assert type(back.get_submodule(name)) is type(model.get_submodule(name))
    assert type(back[3]) is (nn.Dropout if name != "1" else nn.Identity)


def test_a_layer_that_is_the_whole_model() -> None:
    back, _ = nw.decelerate(nw.accelerate(nn.GroupNorm(2, 6))[0])
    assert type(back) is nn.GroupNorm
    with pytest.raises(ArgumentError, match=r"decelerate: .*in place"):
        nw.decelerate(nw.GroupNorm(2, 6), inplace=True)


def test_a_model_without_normwise_has_nothing_to_change() -> None:
    model = perceptron()
    back, edits = nw.decelerate(model)
    assert repr(back) == repr(model)
    assert len(edits) == 0


def test_what_torch_cannot_do_is_left_alone() -> None:
    model = nn.Sequential(
        nw.BatchNorm1d(4).freeze_statistics(),
        nw.BatchNorm1d(4, single_sample="running"),
        nw.BatchNorm1d(4, biased_running_var=True),
        nw.synchronize(nw.BatchNorm1d(4))[0],
        nw.BatchNorm1d(4),
    )
    new, edits = nw.decelerate(model)
    assert [edit.why for edit in edits] == [
        "its statistics are frozen",
        "it has single_sample='running'",
        "its running variance is the biased one",
        "it shares its statistics with others",
        "the same operation",
    ]
    assert [type(module) for module in new] == [nw.BatchNorm1d] * 4 + [nn.BatchNorm1d]
    fused, _ = nw.accelerate(nn.Sequential(nn.BatchNorm1d(4), nn.ReLU()))
    fused[0].freeze_statistics()
    assert nw.decelerate(fused)[1]["0"].why == "its statistics are frozen"


def test_a_frozen_layer_is_fused_frozen() -> None:
    model = nn.Sequential(nw.BatchNorm1d(4).freeze_statistics(), nn.ReLU())
    fused = nw.accelerate(model)[0][0]
    assert type(fused) is nw.BatchNormAct1d
    assert fused.statistics_frozen
