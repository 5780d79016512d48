"""Running statistics become the pooled ones of the data, whatever the layer, the loader and the model's state."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from normwise import layers
from normwise.errors import ArgumentError, UnknownNameError
from normwise.surgery import recalibrate, synchronize

TOLERANCE = 1e-6  # what is promised, in standard deviations; in float64 it is far less


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def uneven(*shape: int, sizes: tuple[int, ...] = (7, 3, 5)) -> list[Tensor]:
    """Batches of several sizes, means and spreads: an average over batches of variances would be far off."""
    return [drawn(n, *shape, seed=i) * (i + 1) + 4.0 * i for i, n in enumerate(sizes)]


def pooled(batches: list[Tensor], ddof: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each channel, from all values at once."""
    columns = np.concatenate([np.moveaxis(b.numpy(), 1, -1).reshape(-1, b.shape[1]) for b in batches])
    return columns.mean(0), columns.var(0, ddof=ddof)


def assert_statistics(layer: nn.Module, mean: np.ndarray, var: np.ndarray, tolerance: float = 1e-12) -> None:
    sigma = np.sqrt(var)
    if layer.running_mean is not None:
        assert np.abs(layer.running_mean.numpy() - mean).max() <= tolerance * np.abs(sigma).max()
    if layer.running_var is not None:
        np.testing.assert_allclose(layer.running_var.numpy(), var, rtol=tolerance)


ACROSS: dict[str, Callable[[], nn.Module]] = {
    "torch": lambda: nn.BatchNorm2d(4),
    "torch, no affine": lambda: nn.BatchNorm2d(4, affine=False, momentum=None),
    "torch, sync": lambda: nn.SyncBatchNorm(4),
    "normwise": lambda: layers.BatchNorm2d(4),
    "fused": lambda: layers.BatchNormAct2d(4, activation="relu", dropout=0.5),
    "sync": lambda: layers.SyncBatchNorm(4),
    "synchronized": lambda: synchronize(nn.BatchNorm2d(4))[0],
    "renorm": lambda: layers.BatchRenorm2d(4),
    "ghost": lambda: layers.GhostBatchNorm2d(4, ghost_size=2),
    "switchable": lambda: layers.SwitchableNorm2d(4),
    "mean only": lambda: layers.MeanOnlyBatchNorm2d(4),
    "evonorm": lambda: layers.EvoNorm2dB0(4),
}


@pytest.mark.parametrize("how", ["batch", "sequential"])
@pytest.mark.parametrize("name", ACROSS)
def test_the_statistics_are_those_of_all_values(name: str, how: str) -> None:
    layer, batches = ACROSS[name](), uneven(4, 3, 2)
    model, edits = recalibrate(nn.Sequential(layer), batches, how=how)
    assert_statistics(model[0], *pooled(batches))
    assert edits["0"].changed
    assert "90 values of each channel in 3 batches" in edits["0"].why
    counter = model[0].num_batches_tracked
    assert counter == (0 if name == "renorm" else 3)
    # The given model is as it was, and shares what was not changed.
    assert all(torch.equal(a, b) for a, b in zip(layer.buffers(), ACROSS[name]().buffers(), strict=True))
    assert all(a is b for a, b in zip(layer.parameters(), model.parameters(), strict=True))


def test_in_float32_with_a_mean_far_above_the_spread() -> None:
    batches = [(x + 1e4).float() for x in uneven(4, sizes=(70, 30, 50))]
    for layer in (nn.BatchNorm1d(4).float(), layers.BatchNorm1d(4).float()):
        model, _ = recalibrate(layer, batches)
        mean, var = pooled([x.double() for x in batches])
        np.testing.assert_allclose(model.running_var.numpy(), var, rtol=TOLERANCE)
        np.testing.assert_allclose(model.running_mean.numpy(), mean, rtol=TOLERANCE)


def test_in_float32_with_few_values_statistics_are_rounded_once() -> None:
    batches = [drawn(n, 512, seed=n) for n in (24, 16)]
    model, _ = recalibrate(nn.BatchNorm1d(512), batches)
    mean, var = pooled([batch.double() for batch in batches])
    np.testing.assert_allclose(model.running_mean.numpy(), mean, rtol=6.1e-8)
    np.testing.assert_allclose(model.running_var.numpy(), var, rtol=6.1e-8)


def test_kerass_convention_takes_the_biased_variance() -> None:
    batches = uneven(4)
    model, _ = recalibrate(layers.keras_batch_norm(4, 1), batches)
    assert_statistics(model, *pooled(batches, ddof=0))


@pytest.mark.parametrize("how", ["batch", "sequential"])
@pytest.mark.parametrize(
    "make",
    [nn.InstanceNorm1d, layers.InstanceNorm1d, layers.InstanceNormAct1d],
    ids=lambda make: f"{make.__module__.split('.')[0]} {make.__name__}",
)
def test_instances_are_averaged_by_their_number(make: Callable[..., nn.Module], how: str) -> None:
    batches = uneven(4, 6)
    model, edits = recalibrate(make(4, track_running_stats=True), batches, how=how)
    instances = np.concatenate([b.numpy() for b in batches])
    assert_statistics(model, instances.mean((0, 2)), instances.var(2, ddof=1).mean(0))
    assert "15 instances in 3 batches" in edits[""].why
    assert model.track_running_stats
    one = recalibrate(make(4, track_running_stats=True), [batches[0][0]], how=how)[0]  # (C, L)
    assert_statistics(one, batches[0][0].numpy().mean(1), batches[0][0].numpy().var(1, ddof=1))


def test_each_part_of_a_split_has_its_own() -> None:
    batches = uneven(4, 3, sizes=(8, 4, 6))
    split = layers.SplitBatchNorm1d(4, 2)
    model, _ = recalibrate(nn.Sequential(split, nn.BatchNorm1d(4)), batches)
    halves = [[b.chunk(2)[k] for b in batches] for k in (0, 1)]
    for part, half in zip((model[0], model[0].aux_bn[0]), halves, strict=True):
        assert_statistics(part, *pooled(half))
        assert part.training
        assert not part.statistics_frozen
    # What follows sees each half normalized by itself, as in training.
    normalized = [split(b).detach() for b in batches]
    assert_statistics(model[1], *pooled(normalized))


def test_each_domain_has_its_own_and_an_absent_one_keeps_its_row() -> None:
    batches = uneven(4, 3)
    domains = [torch.arange(len(b)) % 2 for b in batches]
    layer = layers.DomainBatchNorm1d(4, 3)
    layer.running_mean += 5.0
    pairs = list(zip(batches, domains, strict=True))
    model, _ = recalibrate(layer, pairs, forward=lambda model, pair: model(*pair))
    for number in (0, 1):
        mean, var = pooled([b[d == number] for b, d in pairs])
        np.testing.assert_allclose(model.running_mean[number].numpy(), mean, rtol=1e-12)
        np.testing.assert_allclose(model.running_var[number].numpy(), var, rtol=1e-12)
    assert model.running_mean[2].tolist() == [5.0] * 4
    assert model.num_batches_tracked.tolist() == [3, 3, 0]
    whole, _ = recalibrate(layer, batches, forward=lambda model, batch: model(batch, 2))
    np.testing.assert_allclose(whole.running_var[2].numpy(), pooled(batches)[1], rtol=1e-12)
    assert whole.running_mean[0].tolist() == [5.0] * 4


def test_decorrelation_gets_the_whitening_of_the_pooled_covariance() -> None:
    batches = uneven(4, 6, sizes=(20, 30))
    model, edits = recalibrate(layers.DecorrelatedBatchNorm1d(4, 2, iterations=40, eps=1e-9), batches)
    columns = np.concatenate([np.moveaxis(b.numpy(), 1, -1).reshape(-1, 4) for b in batches])
    for group in (0, 1):
        covariance = np.cov(columns[:, 2 * group : 2 * group + 2].T, ddof=0)
        matrix = model.running_whitening[group].numpy()
        np.testing.assert_allclose(matrix @ covariance @ matrix, np.eye(2), atol=1e-6)
    np.testing.assert_allclose(model.running_mean.numpy(), columns.mean(0), rtol=1e-12)
    assert edits[""].why.startswith("mean moved by up to ")


# Deeper layers


class Deep(nn.Module):
    """Two norms with a branch, a shared one and dropout between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.BatchNorm1d(4)
        self.mix = nn.Linear(4, 4)
        self.drop = nn.Dropout(0.5)
        self.second = layers.BatchNorm1d(4)
        self.twice = layers.BatchNormAct1d(4, activation="tanh", dropout=0.3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.drop(self.mix(self.first(x)).relu())
        y = self.second(y) + nn.functional.dropout(x, 0.5, self.training)
        return self.twice(self.twice(y) + y)


def inputs_of(model: Deep, batches: list[Tensor], training: bool) -> dict[str, list[Tensor]]:
    """What each norm of a copy sees, without any dropout."""
    model = copy.deepcopy(model).eval()
    model.twice.dropout = 0.0
    seen: dict[str, list[Tensor]] = {"first": [], "second": [], "twice": []}
    for name, values in seen.items():
        module = model.get_submodule(name).train(training)
        module.register_forward_pre_hook(lambda _, args, values=values: values.append(args[0].detach()))
    for batch in batches:
        model(batch)
    return seen


def test_by_batches_deeper_layers_see_what_they_see_in_training(stir: Callable[..., Any]) -> None:
    model, batches = stir(Deep()), uneven(4)
    new, _ = recalibrate(model, batches)
    for name, values in inputs_of(model, batches, training=True).items():
        assert_statistics(new.get_submodule(name), *pooled(values))


def test_in_sequence_deeper_layers_have_what_they_see_in_evaluation(stir: Callable[..., Any]) -> None:
    model, batches = stir(Deep()), uneven(4)
    new, _ = recalibrate(model, batches, how="sequential")
    seen = inputs_of(new, batches, training=False)
    for name in ("first", "second"):
        assert_statistics(new.get_submodule(name), *pooled(seen[name]))
    # By batches they do not: that is the difference between the two.
    other, _ = recalibrate(model, batches)
    mean, _ = pooled(inputs_of(other, batches, training=False)["second"])
    assert np.abs(other.second.running_mean.numpy() - mean).max() > 0.05
    # Single samples have no statistics of their own, which does not matter here.
    singles = [row[None] for batch in batches for row in batch]
    again, _ = recalibrate(model, singles, how="sequential")
    for a, b in zip(new.second.state_dict().values(), again.second.state_dict().values(), strict=True):
        if a.dim():
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_a_sequence_follows_the_calls_and_not_the_names() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.BatchNorm1d(4), nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(self.b(x).square())

    batches = uneven(4)
    new, _ = recalibrate(Backwards(), batches, how="sequential")
    with torch.no_grad():
        assert_statistics(new.a, *pooled([new.b.eval()(x).square() for x in batches]))


# The hurts of others, and that they are none here


def test_dropout_is_off() -> None:
    x = drawn(4000, 1)
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(1), nn.Dropout(0.5))
    theirs = copy.deepcopy(model)
    update_bn([x * 1.0 + 1.0], theirs)
    assert theirs[1].running_var.item() > 2.5  # 3, where it is 1 in evaluation
    assert recalibrate(model, [x + 1.0])[0][1].running_var.item() == pytest.approx(x.var().item(), rel=1e-12)


def test_the_spread_between_batches_is_there() -> None:
    batches = [drawn(50, 1, seed=i) * 0.08 + 5.0 * (i - 1) for i in range(3)]
    model = nn.Sequential(nn.BatchNorm1d(1))
    theirs = copy.deepcopy(model)
    update_bn(batches, theirs)
    assert theirs[0].running_var.item() < 0.01
    ours = recalibrate(model, batches)[0][0].running_var.item()
    assert ours == pytest.approx(torch.cat(batches).var().item(), rel=1e-12)
    assert ours > 16.0


def test_what_was_frozen_stays_frozen() -> None:
    model = nn.Sequential(*(nn.BatchNorm1d(4) for _ in range(2)), *(layers.BatchNorm1d(4) for _ in range(2)))
    model.train()
    model[0].eval()
    model[2].freeze_statistics()
    model[3].track_running_stats = False
    before = [copy.deepcopy(layer.state_dict()) for layer in model]
    new, edits = recalibrate(model, uneven(4), inplace=True)
    assert new is model
    assert [edit.changed for edit in edits] == [False, True, False, False]
    assert [model[i].training for i in range(4)] == [False, True, True, True]
    assert model[2].statistics_frozen
    for i in (0, 2, 3):
        assert all(
            torch.equal(a, b) for a, b in zip(model[i].state_dict().values(), before[i].values(), strict=True)
        )
    assert "evaluation in a model in training" in edits["0"].why
    assert "frozen" in edits["2"].why
    assert "track_running_stats" in edits["3"].why
    # torch's own thaws the first and moves it.
    theirs = nn.Sequential(nn.BatchNorm1d(4).eval())
    update_bn(uneven(4), theirs)
    assert theirs[0].num_batches_tracked == 3
    # A frozen layer normalizes by what it has, and the next sees that.
    with torch.no_grad():
        assert_statistics(model[1], *pooled([model[0](x) for x in uneven(4)]))


def test_a_model_in_evaluation_has_nothing_frozen() -> None:
    model, edits = recalibrate(nn.Sequential(nn.BatchNorm1d(4)).eval(), uneven(4))
    assert edits["0"].changed
    assert not model.training


class Failing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.fused = (
            nn.BatchNorm1d(4, momentum=0.3),
            layers.InstanceNormAct1d(4, track_running_stats=True, dropout=0.2),
        )
        self.split = layers.SplitBatchNorm1d(4)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y = self.split(self.fused(self.norm(x)))
        if x.shape[0] == 6:
            raise RuntimeError("no")
        return y


@pytest.mark.parametrize("how", ["batch", "sequential"])
@pytest.mark.parametrize("inplace", [True, False])
def test_after_an_exception_everything_is_as_it_was(inplace: bool, how: str) -> None:
    model = Failing().train()
    model.norm.register_forward_hook(lambda *_: None)
    state = {key: (value, value.clone()) for key, value in model.state_dict(keep_vars=True).items()}
    held = [{**vars(module)} for module in model.modules()]
    hooks = [len(module._forward_pre_hooks) for module in model.modules()]
    torch.manual_seed(3)
    random.seed(3)
    randomness, other = torch.get_rng_state(), random.getstate()
    with pytest.raises(RuntimeError, match="no") as caught:
        recalibrate(model, uneven(4, 3, sizes=(8, 6)), inplace=inplace, how=how)
    assert caught.value.__notes__ == ["recalibrate: in batch 2; the model is as it was"]
    for key, value in model.state_dict(keep_vars=True).items():
        assert value is state[key][0]
        assert torch.equal(value, state[key][1])
    for module, before in zip(model.modules(), held, strict=True):
        assert vars(module).keys() == before.keys()
        for key in ("training", "momentum", "track_running_stats", "dropout", "statistics_frozen"):
            assert vars(module).get(key) == before.get(key)
    assert [len(module._forward_pre_hooks) for module in model.modules()] == hooks
    assert torch.equal(torch.get_rng_state(), randomness)
    assert random.getstate() == other
    # torch's own leaves the momentum changed.
    theirs = nn.Sequential(model.norm)
    with pytest.raises(ValueError, match="expected 2D or 3D"):
        update_bn([drawn(2, 4, 1, 1)], theirs)
    assert model.norm.momentum is None


@pytest.mark.parametrize("how", ["batch", "sequential"])
def test_afterwards_only_the_statistics_are_others(how: str) -> None:
    model = Failing().train()
    others = {key: value.clone() for key, value in model.state_dict().items() if "running" not in key}
    new, _ = recalibrate(model, uneven(4, 3, sizes=(8, 4)), inplace=True, how=how)
    for key, value in others.items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(new.state_dict()[key], value), key
    assert all(module.training for module in new.modules())
    assert new.norm.momentum == 0.3
    assert new.fused.dropout == 0.2
    assert new.fused.track_running_stats
    assert all(module.num_batches_tracked == 2 for module in (new.norm, new.split, new.split.aux_bn[0]))


# Loaders


def stream(batches: list[Any]) -> Iterator[Any]:
    yield from batches


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(torch.cat(uneven(4)))


LOADERS: dict[str, Callable[[list[Tensor]], Any]] = {
    "a list": lambda batches: batches,
    "a generator": stream,
    "one batch": lambda batches: [torch.cat(batches)],
    "an empty batch among them": lambda batches: [*batches, batches[0][:0]],
    "tuples": lambda batches: [(x, "a target") for x in batches],
    "lists": lambda batches: [[x] for x in batches],
    "dicts": lambda batches: [{"input": x} for x in batches],
    "tuples with dicts": lambda batches: [({"input": x}, 1) for x in batches],
    "a last batch of one sample": lambda batches: DataLoader(TensorDataset(torch.cat(batches)), batch_size=7),
    "shuffled": lambda batches: DataLoader(TensorDataset(torch.cat(batches)), batch_size=4, shuffle=True),
    "without a length": lambda batches: DataLoader(Stream(), batch_size=4),
}


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, layers.BatchNorm1d])
@pytest.mark.parametrize("name", LOADERS)
def test_any_loader(name: str, kind: type[nn.Module], capsys: pytest.CaptureFixture[str]) -> None:
    batches = uneven(4)
    model, _ = recalibrate(kind(4), LOADERS[name](batches))
    assert_statistics(model, *pooled(batches))
    assert capsys.readouterr() == ("", "")


def test_shuffling_leaves_no_trace() -> None:
    loader = DataLoader(TensorDataset(torch.cat(uneven(4))), batch_size=4, shuffle=True)
    before = torch.get_rng_state()
    recalibrate(nn.BatchNorm1d(4), loader)
    assert torch.equal(torch.get_rng_state(), before)


def test_progress_is_told_and_not_printed() -> None:
    told: list[tuple[int, int | None]] = []
    recalibrate(Deep(), uneven(4), progress=lambda *now: told.append(now), batches=2)
    assert told == [(1, 2), (2, 2)]
    told.clear()
    recalibrate(nn.BatchNorm1d(4), stream(uneven(4)), progress=lambda *now: told.append(now))
    assert told == [(1, None), (2, None), (3, None)]
    told.clear()
    recalibrate(Deep(), uneven(4), progress=lambda *now: told.append(now), how="sequential")
    assert told[-1] == (9, 9)


@pytest.mark.parametrize("batches", [1, 2, 3, 100])
def test_a_number_of_batches(batches: int) -> None:
    """fvcore leaves a hook behind where the loader is shorter."""
    model, _ = recalibrate(nn.BatchNorm1d(4), uneven(4), batches=batches)
    assert_statistics(model, *pooled(uneven(4)[:batches]))
    assert not model._forward_pre_hooks


def test_weights_and_masks_reach_the_layers() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = layers.BatchNorm1d(4)
            self.act = layers.BatchNormAct1d(4, activation="relu")
            self.each = layers.InstanceNorm1d(4, track_running_stats=True)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            self.act(x, None, mask)
            return self.each(self.norm(x, mask), sample_weight=mask)

    batches = [
        {"x": x, "mask": torch.arange(6) < torch.randint(2, 6, (len(x), 1))}
        for x in uneven(4, 6, sizes=(5, 8))
    ]
    for batch in batches:
        batch["x"].mT[~batch["mask"]] = torch.nan
    new, _ = recalibrate(Masked(), batches)
    valid = np.concatenate([b["x"].mT[b["mask"]].numpy() for b in batches])
    assert_statistics(new.norm, valid.mean(0), valid.var(0, ddof=1))
    assert_statistics(new.act, valid.mean(0), valid.var(0, ddof=1))
    plain, means, variances = layers.BatchNorm1d(4), [], []
    for b in batches:
        y = plain(b["x"], b["mask"]).detach().numpy()
        for row, mask in zip(y, b["mask"].numpy(), strict=True):
            means.append(row[:, mask].mean(1))
            variances.append(row[:, mask].var(1, ddof=1))
    np.testing.assert_allclose(new.each.running_mean.numpy(), np.mean(means, 0), atol=1e-12)
    np.testing.assert_allclose(new.each.running_var.numpy(), np.mean(variances, 0), rtol=1e-10)


def test_weights_that_are_numbers_count() -> None:
    x, weight = drawn(9, 4), torch.tensor([3.0, 1, 2, 0, 1, 4, 1, 1, 2])
    batches = [(x[:5], weight[:5]), (x[5:], weight[5:])]
    new, _ = recalibrate(layers.BatchNorm1d(4), batches, forward=lambda model, batch: model(*batch))
    repeated = x.numpy().repeat(weight.numpy().astype(int), axis=0)
    assert_statistics(new, repeated.mean(0), repeated.var(0, ddof=1))


def test_what_is_not_finite_is_left_out_and_counted() -> None:
    batches = uneven(4)
    bad = batches[1].clone()
    bad[0, 2] = torch.inf
    for layer in (nn.BatchNorm1d(4), layers.BatchNorm1d(4)):
        model, edits = recalibrate(layer, [batches[0], bad, batches[2]])
        assert_statistics(model, *pooled([batches[0], batches[2]]))
        assert model.num_batches_tracked == 2
        assert edits[""].why.endswith("1 left out, which had values that are not finite")
        with pytest.raises(ArgumentError, match="1 batches with values that are not finite, and no other"):
            recalibrate(layer, [bad])


# Models


class LastAxis(nn.BatchNorm1d):
    """Channels last, as many have it; the first axis of the input happens to be as long."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.mT).mT


class WithActivation(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


class Pretender(nn.BatchNorm1d):
    """Derived from torch's, and no batch normalization."""

    def forward(self, input: Tensor) -> Tensor:
        return input


class OursLast(layers.BatchNorm1d):
    def forward(self, input: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        return super().forward(input.mT).mT


def test_derived_classes_are_read_where_they_normalize() -> None:
    batches = uneven(4, 4)
    model, edits = recalibrate(nn.Sequential(LastAxis(4), nn.BatchNorm1d(4)), batches)
    assert_statistics(model[0], *pooled([b.mT for b in batches]))
    pictures = uneven(4, 2, 2)
    deeper, _ = recalibrate(nn.Sequential(WithActivation(4), nn.BatchNorm2d(4)), pictures)
    plain = nn.BatchNorm2d(4)
    assert_statistics(deeper[1], *pooled([plain(b).relu().detach() for b in pictures]))
    _, edits = recalibrate(nn.Sequential(Pretender(4), OursLast(4), nn.BatchNorm1d(4)), batches)
    assert [edit.why for edit in edits][:2] == [
        "no value reached it",
        "OursLast has a forward pass of its own",
    ]


def test_statistics_that_are_used_by_a_function() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            n = self.norm
            return nn.functional.batch_norm(x, running_var=n.running_var, running_mean=n.running_mean)

    assert_statistics(recalibrate(Bare(), uneven(4))[0].norm, *pooled(uneven(4)))


class Frozen(nn.Module):
    """As torchvision and detectron2 have it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(4))
        self.register_buffer("running_var", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(x, self.running_mean, self.running_var)


def test_what_is_not_known_stays() -> None:
    model, edits = recalibrate(nn.Sequential(Frozen(), nn.BatchNorm1d(4)), uneven(4))
    assert edits["0"].why == "Frozen is not known: it may be a frozen one"
    assert model[0].running_mean.tolist() == [0.0] * 4


def test_a_layer_that_no_batch_reaches_stays() -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.aux = nn.BatchNorm1d(4), nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Any:
            return (self.norm(x), self.aux(x)) if self.training else self.norm(x)

    for how in ("batch", "sequential"):
        model, edits = recalibrate(Auxiliary(), uneven(4), how=how)
        assert edits["aux"].why == "no value reached it"
        assert model.aux.num_batches_tracked == 0
        assert edits["norm"].changed


@pytest.mark.parametrize(
    "where", ["body", "body.*", "body.1", nn.BatchNorm1d, lambda name, _: name == "body.1"]
)
def test_a_choice_of_layers(where: Any) -> None:
    body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    model = nn.ModuleDict({"body": body, "head": layers.BatchNormAct1d(4)})
    new, edits = recalibrate(model, uneven(4), where=where, forward=lambda m, x: m["head"](m["body"](x)))
    assert [edit.name for edit in edits] == ["body.1"]
    assert new["head"].num_batches_tracked == 0


def test_averaged_models() -> None:
    """The parameters of SWA and EMA are averages; their statistics are those of nobody."""
    source = Deep()
    for options in ({}, {"use_buffers": True}, {"avg_fn": lambda old, new, _: 0.9 * old + 0.1 * new}):
        averaged = AveragedModel(source, **options)
        averaged.update_parameters(source)
        new, edits = recalibrate(averaged, uneven(4))
        assert [edit.name for edit in edits] == ["module.first", "module.second", "module.twice"]
        assert_statistics(new.module.first, *pooled(uneven(4)))
        assert new.n_averaged == 1


def test_a_model_that_compiles_itself() -> None:
    torch.compiler.reset()
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), layers.BatchNorm1d(4))
    model.compile(backend="eager")
    x = drawn(8, 4)
    with torch.no_grad():
        model.eval()(x)
        model.train()(x)
    plain = nn.Sequential(*model)
    expected, _ = recalibrate(plain, uneven(4))
    new, edits = recalibrate(model, uneven(4), inplace=True)
    assert all(edit.changed for edit in edits)
    for a, b in zip(new.state_dict().values(), expected.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("how", ["batch", "sequential"])
def test_a_variance_beyond_float16_is_refused(how: str) -> None:
    batches = [torch.full((100, 1), 300.0).half(), torch.full((100, 1), -300.0).half()]
    model = nn.Sequential(nn.BatchNorm1d(1)).half().eval()
    message = r"running_var of `0` must fit into float16, which ends at 65504\. Got 9\.05e\+04"
    with pytest.raises(ArgumentError, match=message):
        recalibrate(model, batches, how=how, inplace=True)
    assert model[0].running_var.item() == 1.0
    for wider in (nn.BatchNorm1d(1).bfloat16(), layers.BatchNorm1d(1).half()):
        new, _ = recalibrate(wider, [x.to(wider.weight.dtype) for x in batches], how=how)
        assert new.running_var.item() == pytest.approx(90452, rel=4e-3)


def test_a_batch_beyond_float16_is_refused_since_the_next_layer_would_not_see_it() -> None:
    wide, narrow = torch.full((4, 1), 400.0), torch.ones(400, 1)
    wide[::2] *= -1.0
    model = nn.Sequential(nn.BatchNorm1d(1), nn.BatchNorm1d(1)).half()
    with pytest.raises(ArgumentError, match=r"a batch of `0` must fit into float16.*1\.6e"):
        recalibrate(model, [wide.half(), narrow.half()])
    new, _ = recalibrate(model, [wide.half(), narrow.half()], how="sequential")
    assert torch.isfinite(new[0].running_var).all()


def test_bfloat16_models() -> None:
    batches = [x.bfloat16() for x in uneven(4)]
    for layer in (nn.BatchNorm1d(4).bfloat16(), layers.BatchNorm1d(4).bfloat16()):
        new, _ = recalibrate(nn.Sequential(layer), batches)
        _, var = pooled([x.double() for x in batches])
        assert new[0].running_var.dtype == layer.running_var.dtype
        tolerance = 5e-3 if layer.running_var.dtype == torch.bfloat16 else 1e-6
        np.testing.assert_allclose(new[0].running_var.double().numpy(), var, rtol=tolerance)


def test_a_packed_sequence() -> None:
    rows = uneven(4)
    packed = nn.utils.rnn.pack_sequence(rows, enforce_sorted=False)
    new, _ = recalibrate(layers.BatchNorm1d(4), [packed], forward=lambda model, batch: model(batch))
    assert_statistics(new, *pooled(rows))


# Errors


@pytest.mark.parametrize(
    ("model", "loader", "options", "message"),
    [
        (nn.Linear(4, 4), [drawn(2, 4)], {}, "must have a layer with running statistics"),
        (nn.BatchNorm1d(4), [], {}, "`loader` must give a batch. Got none"),
        (nn.BatchNorm1d(4), drawn(2, 4), {}, r"Got a Tensor. hint: a list of batches is one, too"),
        (nn.BatchNorm1d(4), 3, {}, "one batch after another. Got a int"),
        (nn.BatchNorm1d(4), {"x": 1}, {}, "Got a dict"),
        (nn.BatchNorm1d(4), TensorDataset(drawn(2, 4)), {}, "put it into a torch.utils.data.DataLoader"),
        (nn.BatchNorm1d(4), [3], {}, "a batch must be a tensor.*Got a int.*forward=lambda"),
        (nn.BatchNorm1d(4), [drawn(1, 4)], {}, "more than one value per channel.*how='sequential'"),
        (
            nn.BatchNorm1d(4),
            [drawn(1, 4)],
            {"how": "sequential"},
            "more than one value per channel. Got 1 in all",
        ),
        (nn.BatchNorm1d(4), stream([drawn(2, 4)]), {"how": "sequential"}, "give its batches again"),
        (nn.BatchNorm1d(4), [drawn(2, 4)], {"batches": 0}, "`batches` must be at least 1"),
        (nn.BatchNorm1d(4), [drawn(2, 4)], {"where": "head"}, "`where` must select a layer"),
        (nn.BatchNorm1d(4), [drawn(2, 4)], {"where": 3}, "names, patterns, classes or a function"),
        (nn.LazyBatchNorm1d(), [drawn(2, 4)], {}, "run a batch through the model first"),
        (nn.BatchNorm1d(4, device="meta"), [drawn(2, 4)], {}, "buffers on the meta device"),
        (nn.BatchNorm1d, [drawn(2, 4)], {}, "hint: call it first"),
        (nn.BatchNorm1d(4), [drawn(2, 5)], {}, "mean|5"),
    ],
)
def test_clear_errors(model: Any, loader: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((ArgumentError, RuntimeError, ValueError), match=message):
        recalibrate(model, loader, **options)


def test_an_unknown_way() -> None:
    with pytest.raises(UnknownNameError, match="batch, sequential"):
        recalibrate(nn.BatchNorm1d(4), uneven(4), how="precise")


def test_the_shift_is_told_in_deviations() -> None:
    layer = nn.BatchNorm1d(1, eps=0.0)
    layer.running_mean += 2.0
    x = torch.tensor([[0.0], [8.0]]) * 0.5**0.5  # σ of 4, mean 2 · sqrt(2)
    _, edits = recalibrate(layer, [x])
    assert edits[""].why == "mean moved by up to 0.21 σ, σ times 4; 2 values of each channel in 1 batch"
    assert edits[""].before == "nn.BatchNorm1d"
    assert edits[""].after == "nn.BatchNorm1d, recalibrated"
