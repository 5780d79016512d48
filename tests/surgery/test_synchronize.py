"""Statistics over all processes, and back: hooks, activations, subclasses and references stay."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from normwise import layers
from normwise.errors import ArgumentError
from normwise.layers._sharing import shared_by
from normwise.layers.sync_batch_norm import AllReduce
from normwise.surgery import desynchronize, synchronize


class WithActivation(nn.BatchNorm2d):
    """What torch's converter would turn into a SyncBatchNorm without its activation."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.BatchNorm2d(4),
        layers.BatchNorm2d(4),
        layers.BatchNormAct2d(4, activation="relu", dropout=0.1),
        WithActivation(4),
        nn.SyncBatchNorm(4),
        layers.SyncBatchNorm(4),
        nn.InstanceNorm2d(4, track_running_stats=True),
        nn.LazyBatchNorm2d(),
    )


def test_each_layer_becomes_what_the_record_says() -> None:
    model = network()
    new, edits = synchronize(model)
    assert [edit.after for edit in edits] == [
        "nw.BatchNorm2d over all processes",
        "nw.BatchNorm2d over all processes",
        "nw.BatchNormAct2d(activation='relu', dropout=0.1) over all processes",
        "WithActivation",
        "nw.SyncBatchNorm",
        "nw.SyncBatchNorm",
        "nn.LazyBatchNorm2d",
    ]
    assert edits["4"].why == "WithActivation has a forward pass of its own"
    assert "run a batch through the model first" in edits["8"].why
    assert isinstance(shared_by(new[3]), AllReduce)
    assert new[3].activation == "relu"
    # The given model is as it was; parameters are shared.
    assert type(model[1]) is nn.BatchNorm2d
    assert shared_by(model[2]) is None
    assert new[1].weight is model[1].weight
    assert new[1].running_mean is model[1].running_mean
    assert list(new.state_dict()) == list(model.state_dict())


def test_the_layer_stays_the_same_object_with_its_hooks() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4))
    norm, calls = model[0], []
    norm.register_forward_hook(lambda *_: calls.append(1))
    again, _ = synchronize(model, inplace=True)
    assert again is model
    assert model[0] is norm
    x = torch.randn(8, 4)
    plain = nn.BatchNorm1d(4)
    torch.testing.assert_close(model(x), plain(x))
    assert calls == [1]
    torch.testing.assert_close(norm.running_var, plain.running_var)


def test_the_way_back() -> None:
    model = network()[:-1]
    there, _ = synchronize(model)
    back, edits = desynchronize(there)
    assert [edit.name for edit in edits] == ["1", "2", "3", "5", "6"]
    assert all(shared_by(module) is None for module in back.modules())
    assert [type(back[i]) for i in (5, 6)] == [layers.BatchNorm2d] * 2
    assert back[5].running_mean is model[5].running_mean
    back.eval()(torch.randn(2, 3, 4, 4))
    assert desynchronize(back)[1].entries == ()
    assert type(desynchronize(nn.Sequential(nn.SyncBatchNorm(4)))[0][0]) is layers.BatchNorm1d
    assert type(desynchronize(nn.Sequential(nn.SyncBatchNorm(4)), rank=3)[0][0]) is layers.BatchNorm3d


def test_a_rank_that_is_not_known_is_asked_for() -> None:
    model = nn.Sequential(nn.Conv1d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.SyncBatchNorm(3))
    with pytest.raises(ArgumentError, match=r"ranks 1, 2.*name it as `rank`"):
        desynchronize(model)
    with pytest.raises(ArgumentError, match="`rank` must be 1, 2 or 3"):
        desynchronize(model, rank=4)


def test_a_synchronized_model_is_copied_and_folded_back_for_export() -> None:
    model, _ = synchronize(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    model = copy.deepcopy(model).eval()
    x = torch.randn(2, 3, 4, 4)
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x))
