"""Momentum, eps and tracking as if the layers had been built so; and statistics as in the beginning."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normwise import layers
from normwise.errors import ArgumentError
from normwise.surgery import freeze, reset_running_stats, set_statistics

BUILT: dict[str, tuple[Callable[..., nn.Module], tuple[int, ...]]] = {
    "torch": (nn.BatchNorm1d, (8, 4)),
    "torch, instance": (nn.InstanceNorm2d, (3, 4, 3, 3)),
    "ours": (layers.BatchNorm2d, (3, 4, 3, 3)),
    "ours, instance": (layers.InstanceNorm1d, (3, 4, 5)),
    "fused": (layers.BatchNormAct1d, (8, 4)),
    "fused, instance": (layers.InstanceNormAct1d, (3, 4, 5)),
    "sync": (layers.SyncBatchNorm, (8, 4)),
    "ghost": (lambda n, **options: layers.GhostBatchNorm1d(n, 4, **options), (8, 4)),
    "split": (lambda n, **options: layers.SplitBatchNorm1d(n, 2, **options), (8, 4)),
}


def run(layer: nn.Module, x: Tensor) -> list[Tensor]:
    outputs = [layer.train()(x), layer.train()(x * 2), layer.eval()(x)]
    return [*(y.detach() for y in outputs), *layer.state_dict().values()]


@pytest.mark.parametrize("track", [True, False])
@pytest.mark.parametrize("name", BUILT)
def test_a_layer_is_as_if_built_so(name: str, track: bool) -> None:
    make, shape = BUILT[name]
    wanted = {"momentum": 0.4, "eps": 1e-2, "track_running_stats": track}
    old = nn.Sequential(make(4, track_running_stats=not track))
    before = repr(old), list(old.state_dict())
    new, edits = set_statistics(old, **wanted)
    built = make(4, **wanted)
    assert repr(new[0]) == repr(built)
    assert list(new[0].state_dict()) == list(built.state_dict())
    assert [*new[0]._buffers] == [*built._buffers]
    for mine, theirs in zip(
        run(new[0], torch.randn(shape, generator=_seed())),
        run(built, torch.randn(shape, generator=_seed())),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    assert (repr(old), list(old.state_dict())) == before
    assert edits["0"].changed
    # And back: the same layer as before, with fresh statistics.
    back, _ = set_statistics(new, momentum=0.1, eps=1e-5, track_running_stats=not track)
    assert repr(back) == before[0]


def _seed() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_each_alone_leaves_the_others() -> None:
    model = nn.Sequential(
        nn.BatchNorm1d(4, momentum=0.3),
        nn.LayerNorm(4),
        nn.GroupNorm(2, 4),
        nn.RMSNorm(4),
        layers.LayerNorm2d(4),
    )
    names = [edit.name for edit in set_statistics(model, momentum=None)[1]]
    assert names == ["0"]
    new, edits = set_statistics(model, eps=1e-4)
    assert [edit.name for edit in edits.changed] == ["0", "1", "2", "3", "4"]
    assert [layer.eps for layer in new] == [1e-4] * 5
    assert new[0].momentum == 0.3
    assert edits["3"].before == "nn.RMSNorm, eps=None"
    assert set_statistics(new, eps=1e-4)[1]["0"].why == "so it was"
    assert [layer.eps for layer in model][:3] == [1e-5] * 3


def test_in_place_and_chosen() -> None:
    model = nn.ModuleDict({"a": nn.BatchNorm1d(4), "b": nn.BatchNorm1d(4)})
    same, _ = set_statistics(model, momentum=0.01, where="b", inplace=True)
    assert same is model
    assert [layer.momentum for layer in model.values()] == [0.1, 0.01]


def test_tracking_that_comes_has_the_models_dtype_and_stays_wide() -> None:
    for make, dtype in ((nn.BatchNorm1d, torch.bfloat16), (layers.BatchNorm1d, torch.float32)):
        model = nn.Sequential(nn.Linear(4, 4), make(4, affine=False, track_running_stats=False)).bfloat16()
        new, edits = set_statistics(model, track_running_stats=True)
        assert new[1].running_var.dtype == dtype
        assert "recalibrate before evaluation" in edits["1"].why


def test_what_is_frozen_or_cannot_stays() -> None:
    model = nn.Sequential(
        freeze(nn.BatchNorm1d(4))[0], nn.InstanceNorm1d(4), nn.LazyBatchNorm1d(), layers.BatchRenorm1d(4)
    )
    _, edits = set_statistics(model, momentum=None)
    assert [edit.why for edit in edits] == [
        "its statistics are frozen",
        "instance normalization knows no average over all batches",
        "it has no parameters yet: run a batch through the model first",
        "as asked for",
    ]
    assert [edit.name for edit in set_statistics(model, track_running_stats=False)[1]] == ["0", "1", "2"]
    assert set_statistics(model, eps=1e-3)[1]["0"].changed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "must be given. Got none of them"),
        ({"momentum": "all"}, "Got 'all'"),
        ({"momentum": 1.5}, "`momentum` must lie between 0 and 1, or be None. Got 1.5"),
        ({"momentum": float("nan")}, "Got nan"),
        ({"eps": 0.0}, "`eps` must be positive"),
        ({"eps": None}, "`eps` must be positive"),
        ({"momentum": 0.1, "where": "4"}, "`where` must select a normalization with momentum"),
    ],
)
def test_clear_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        set_statistics(nn.Sequential(nn.BatchNorm1d(4)), **options)
    with pytest.raises(ArgumentError, match="must have a normalization with eps"):
        set_statistics(nn.Linear(2, 2), eps=1e-3)


def test_reset(stir: Callable[..., Any]) -> None:
    model = nn.Sequential(
        nn.BatchNorm1d(4),
        layers.SplitBatchNorm1d(4),
        layers.DecorrelatedBatchNorm1d(4),
        layers.BatchNorm1d(4),
    )
    fresh = copy.deepcopy(model.state_dict())
    stir(model)
    model[3].freeze_statistics()
    before = copy.deepcopy(model.state_dict())
    new, edits = reset_running_stats(model)
    assert [edit.changed for edit in edits] == [True, True, True, False]
    for key, value in new.state_dict().items():
        same_as = fresh if "running" in key and not key.startswith("3") else before
        assert torch.equal(value, same_as[key]), key
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    same, _ = reset_running_stats(model, where="0", inplace=True)
    assert same is model
    assert torch.equal(model[0].running_mean, fresh["0.running_mean"])
    assert torch.equal(model[1].running_mean, before["1.running_mean"])
    with pytest.raises(ArgumentError, match="must have a layer with running statistics"):
        reset_running_stats(nn.Linear(2, 2))
