"""Statistics of several models together are those of their data together."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from normwise import layers
from normwise.errors import ArgumentError
from normwise.surgery import average_statistics, recalibrate


def data(k: int, n: int = 40) -> Tensor:
    return torch.randn(n, 4, 6, generator=torch.Generator().manual_seed(k)) * (k + 1) + 3.0 * k


KINDS: dict[str, Callable[[], nn.Module]] = {
    "torch": lambda: nn.BatchNorm1d(4),
    "normwise": lambda: layers.BatchNorm1d(4),
    "fused": lambda: layers.BatchNormAct1d(4, activation="relu"),
    "split": lambda: layers.SplitBatchNorm1d(4, 2),
    "mean only": lambda: layers.MeanOnlyBatchNorm1d(4),
}


@pytest.mark.parametrize("name", KINDS)
def test_replicas_on_parts_of_the_data_become_one_on_all_of_it(name: str) -> None:
    parts = [nn.Sequential(KINDS[name]()) for _ in range(3)]
    inputs = [data(k) for k in range(3)]
    replicas = [recalibrate(part, [x])[0] for part, x in zip(parts, inputs, strict=True)]
    model, edits = average_statistics(replicas)
    assert [edit.changed for edit in edits] == [True]
    holders = [m for m in model.modules() if getattr(m, "running_mean", None) is not None]
    halves = [x.chunk(len(holders)) for x in inputs]
    for k, holder in enumerate(holders):
        columns = np.concatenate([half[k].numpy().transpose(0, 2, 1).reshape(-1, 4) for half in halves])
        np.testing.assert_allclose(holder.running_mean.numpy(), columns.mean(0), rtol=1e-12)
        if holder.running_var is not None:
            # Each part's variance has n − 1 below it: the two conventions differ by 1/n.
            np.testing.assert_allclose(holder.running_var.numpy(), columns.var(0), rtol=1e-2)
            between = np.var([x.mean((0, 2)).numpy() for x in inputs], axis=0)
            plain = np.mean([r[0].running_var.numpy() for r in replicas], axis=0)
            assert (holder.running_var.numpy() > plain + 0.9 * between).all() or name == "split"


def test_the_formula_with_weights_and_domains() -> None:
    generator = torch.Generator().manual_seed(0)
    models = [layers.DomainBatchNorm1d(4, 3) for _ in range(3)]
    for model in models:
        model.running_mean.copy_(torch.randn(3, 4, generator=generator))
        model.running_var.copy_(torch.rand(3, 4, generator=generator))
    weights = np.array([2.0, 0.0, 3.0])
    p = (weights / weights.sum())[:, None, None]
    means, variances = (
        np.stack([getattr(m, f"running_{k}").numpy() for m in models]) for k in ("mean", "var")
    )
    models[1].running_var.fill_(torch.nan)  # without a weight it has no part, whatever it is
    new, _ = average_statistics(models, weights.tolist())
    mean = (p * means).sum(0)
    np.testing.assert_allclose(new.running_mean.numpy(), mean, rtol=1e-12)
    second = (p * (variances + means**2)).sum(0)
    np.testing.assert_allclose(new.running_var.numpy(), second - mean**2, rtol=1e-10)
    # The given ones are as they were.
    assert np.array_equal(models[0].running_mean.numpy(), means[0])


def test_instances_and_layers_without_a_mean_average_their_variances() -> None:
    for make in (
        lambda: layers.InstanceNorm1d(4, track_running_stats=True),
        lambda: nn.InstanceNorm1d(4, track_running_stats=True),
        lambda: layers.EvoNorm1dB0(4),
    ):
        pair = [make(), make()]
        pair[1].running_var.fill_(3.0)
        if pair[1].running_mean is not None:
            pair[1].running_mean.fill_(4.0)
        assert average_statistics(pair)[0].running_var.tolist() == [2.0] * 4


def test_an_exponential_average_of_buffers_follows_the_moments() -> None:
    source = nn.Sequential(nn.BatchNorm1d(4))
    theirs = AveragedModel(source, avg_fn=lambda old, new, _: 0.5 * old + 0.5 * new, use_buffers=True)
    ours = AveragedModel(source)
    theirs.update_parameters(source)
    source[0].running_mean.fill_(6.0)
    theirs.update_parameters(source)
    same, edits = average_statistics([ours, source], [0.5, 0.5], inplace=True)
    assert same is ours
    assert edits["0"].why == "mean moved by up to 0.95 σ, σ times 3.2"
    assert theirs.module[0].running_var.tolist() == [1.0] * 4  # of −0 ± 1 and 6 ± 1 together it is 10
    assert ours.module[0].running_var.tolist() == [10.0] * 4
    assert ours.module[0].running_mean.tolist() == [3.0] * 4


def test_what_cannot_or_must_not_be_averaged_stays() -> None:
    model = nn.Sequential(
        layers.BatchNorm1d(4).freeze_statistics(), layers.DecorrelatedBatchNorm1d(4), nn.BatchNorm1d(4)
    )
    other = copy.deepcopy(model)
    for module in other:
        module.running_mean += 1.0
    new, edits = average_statistics([model, other])
    assert [edit.changed for edit in edits] == [False, False, True]
    assert "recalibrate it" in edits["1"].why
    assert [module.running_mean[0].item() for module in new] == [0.0, 0.0, 0.5]
    assert model[2].running_mean[0].item() == 0.0


@pytest.mark.parametrize(
    ("models", "weights", "message"),
    [
        ([], None, "`models` must be a list of models. Got none"),
        (nn.BatchNorm1d(4), None, "Got a BatchNorm1d"),
        ([nn.BatchNorm1d(4)] * 2, [1.0], "`weights` must be 2 finite numbers"),
        ([nn.BatchNorm1d(4)] * 2, [1.0, -1.0], "none negative"),
        ([nn.BatchNorm1d(4)] * 2, [0.0, 0.0], "not all zero"),
        ([nn.BatchNorm1d(4)] * 2, [1.0, float("nan")], "finite"),
        (
            [nn.Sequential(nn.BatchNorm1d(4)), nn.Sequential(nn.BatchNorm1d(3))],
            None,
            r"shape \(4,\). Got shape \(3,\)",
        ),
        ([nn.Sequential(nn.BatchNorm1d(4)), nn.Sequential()], None, "`0.running_mean` of shape .*Got none"),
        ([nn.Linear(2, 2)], None, "must have a layer with running statistics"),
    ],
)
def test_clear_errors(models: Any, weights: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        average_statistics(models, weights)


def test_a_spread_beyond_float16_is_refused() -> None:
    models = [nn.Sequential(nn.BatchNorm1d(1)).half() for _ in range(2)]
    for model, mean in zip(models, (300.0, -300.0), strict=True):
        model[0].running_mean.fill_(mean)
    with pytest.raises(ArgumentError, match=r"running_var of `0` must fit into float16.*Got 9e\+04"):
        average_statistics(models, inplace=True)
    assert (models[0][0].running_mean.item(), models[0][0].running_var.item()) == (300.0, 1.0)
    new, _ = average_statistics([model.bfloat16() for model in models])
    assert new[0].running_var.item() == pytest.approx(9e4, rel=4e-3)
