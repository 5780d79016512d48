"""Frozen layers stay frozen, and come back exactly as they were."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from normwise import layers
from normwise.errors import ArgumentError
from normwise.regularizers import parameter_groups
from normwise.surgery import accelerate, freeze, recalibrate, synchronize, unfreeze


class WithActivation(nn.BatchNorm2d):
    """What timm has: more than torch's, under torch's name."""

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        self.drop, self.act = nn.Dropout(0.5), nn.PReLU()

    def forward(self, input: Tensor) -> Tensor:
        if input.shape[0] == 1:
            raise RuntimeError("one")
        return self.act(self.drop(super().forward(input)))


class Renamed(nn.BatchNorm2d):
    """Derived, with torch's own forward pass."""


KINDS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4, momentum=0.3), 1),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(4, momentum=None), 2),
    "BatchNorm3d": (lambda: nn.BatchNorm3d(4, affine=False), 3),
    "SyncBatchNorm": (lambda: nn.SyncBatchNorm(4), 2),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(4, affine=True, track_running_stats=True), 1),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(4, track_running_stats=True), 2),
    "InstanceNorm3d": (lambda: nn.InstanceNorm3d(4, affine=True, track_running_stats=True), 3),
    "derived": (lambda: WithActivation(4), 2),
    "renamed": (lambda: Renamed(4), 2),
    "ours": (lambda: layers.BatchNorm2d(4), 2),
    "fused": (lambda: layers.BatchNormAct2d(4, activation="relu"), 2),
    "ours, sync": (lambda: layers.SyncBatchNorm(4), 2),
    "synchronized": (lambda: synchronize(nn.BatchNorm2d(4))[0], 2),
    "split": (lambda: layers.SplitBatchNorm2d(4), 2),
    "renorm": (lambda: layers.BatchRenorm2d(4), 2),
    "switchable": (lambda: layers.SwitchableNorm2d(4), 2),
    "evonorm": (lambda: layers.EvoNorm2dB0(4), 2),
    "decorrelated": (lambda: layers.DecorrelatedBatchNorm2d(4), 2),
}


def drawn(rank: int, n: int = 6) -> Tensor:
    return torch.randn(n, 4, *(3,) * rank) * 2 + 1


def snapshot(model: nn.Module) -> Any:
    """All that a module is, down to the keys of its attributes."""
    return [
        (type(m), {k: v for k, v in vars(m).items() if not isinstance(v, dict | set)}, [*m._buffers], repr(m))
        for m in model.modules()
    ], [(id(p), p.requires_grad) for p in model.parameters()]


@pytest.mark.parametrize("name", KINDS)
def test_frozen_statistics_survive_train(name: str, stir: Callable[..., Any]) -> None:
    make, rank = KINDS[name]
    model = stir(nn.Sequential(make())).train()
    x = drawn(rank)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    expected = copy.deepcopy(model).eval()(x)
    frozen, edits = freeze(model, inplace=True)
    assert frozen is model
    assert edits["0"].changed
    for each in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        each.eval()
        each.train()
        y = each(x)
        if name == "derived":
            assert (y == 0).any()  # its dropout goes on, as a part of its own
        elif name != "split":
            torch.testing.assert_close(y, expected)
        assert list(each.state_dict()) == list(before)
        for key, value in each.state_dict().items():
            assert torch.equal(value, before[key]), key
        assert each[0].training
        affine = {
            key for key in before if key.rpartition(".")[2] in ("weight", "bias") and ".act." not in key
        }
        assert not any(dict(each.named_parameters())[key].requires_grad for key in affine)
    unfreeze(model, inplace=True)
    model(x)
    moved = [
        key
        for key, value in model.state_dict().items()
        if "running" in key and not torch.equal(value, before[key])
    ]
    assert moved


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_unfreezing_gives_back_everything(name: str, inplace: bool, training: bool) -> None:
    make, rank = KINDS[name]
    model = nn.Sequential(make(), nn.Flatten()).train(training)
    for key, parameter in model.named_parameters():
        parameter.requires_grad_(not key.endswith("bias"))
    model[0].register_forward_hook(_nothing)
    original, before = model, snapshot(model)
    frozen, _ = freeze(model, inplace=inplace)
    assert snapshot(frozen) != before
    twice, edits = freeze(frozen, inplace=inplace)
    assert not edits.changed
    again, edits = unfreeze(twice, inplace=inplace)
    assert (again is original) == inplace
    mine = snapshot(again)
    if inplace:
        assert mine == before
    else:
        assert mine[0] == before[0]
        assert [flag for _, flag in mine[1]] == [flag for _, flag in before[1]]
        assert snapshot(original) == before
    assert list(again[0]._forward_hooks.values()) == [_nothing]
    assert not again[0]._forward_pre_hooks
    assert not again[0]._forward_hooks_always_called
    torch.manual_seed(0)
    expected = original(drawn(rank, 4))
    torch.manual_seed(0)
    torch.testing.assert_close(again(drawn(rank, 4)), expected)


def _nothing(*_: Any) -> None:
    return None


def test_a_copy_shares_memory_and_leaves_the_given_model_trainable() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.LayerNorm(4))
    model[1].weight._no_weight_decay = True
    frozen, _ = freeze(model)
    assert model[1].weight.requires_grad
    assert not frozen[1].weight.requires_grad
    assert frozen[1].weight.data_ptr() == model[1].weight.data_ptr()
    assert frozen[1].weight._no_weight_decay
    assert frozen[1].running_mean is model[1].running_mean
    # What was not asked for is shared as a whole.
    assert frozen[0].weight is model[0].weight
    assert frozen[2].weight is model[2].weight
    assert frozen[2].weight.requires_grad


def test_no_optimizer_moves_a_frozen_weight() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad(set_to_none=False)
        model(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()
    freeze(model, inplace=True)
    before = model[1].weight.clone(), model[0].weight.clone()
    optimizer.zero_grad(set_to_none=False)
    model(torch.randn(8, 4)).square().sum().backward()
    optimizer.step()
    assert torch.equal(model[1].weight, before[0])
    assert not torch.equal(model[0].weight, before[1])
    decays, exempt = parameter_groups(model, 0.1)
    assert [id(p) for p in decays["params"]] == [id(model[0].weight)]
    assert [id(p) for p in exempt["params"]] == [id(model[0].bias)]
    unfreeze(model, inplace=True)
    assert len(parameter_groups(model, 0.1)[1]["params"]) == 3


def test_statistics_and_affine_apart() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4))
    freeze(model, affine=False, inplace=True)
    assert type(model[0]) is layers.BatchNorm1d
    assert model[0].weight.requires_grad
    _, edits = freeze(model, statistics=False, inplace=True)
    assert edits["0"].before == "nw.BatchNorm1d, statistics frozen"
    assert edits["0"].after == "nw.BatchNorm1d, statistics and affine frozen"
    unfreeze(model, affine=False, inplace=True)
    assert type(model[0]) is nn.BatchNorm1d
    assert not model[0].weight.requires_grad
    _, edits = unfreeze(model, inplace=True)
    assert edits["0"].before == "nn.BatchNorm1d, affine frozen"
    assert model[0].weight.requires_grad
    assert not unfreeze(model)[1].changed
    plain = nn.Sequential(nn.BatchNorm1d(4))
    freeze(plain, statistics=False, inplace=True)
    plain(torch.randn(8, 4))
    assert plain[0].num_batches_tracked == 1


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Conv2d(4, 4, 1), layers.BatchNorm2d(4), nn.InstanceNorm2d(4)),
        nn.BatchNorm2d(4),
    )


@pytest.mark.parametrize(
    ("where", "names"),
    [
        (None, ["0.1", "1.1", "1.2", "2"]),
        ("0", ["0.1"]),
        ("[01]", ["0.1", "1.1", "1.2"]),
        ("*.1", ["0.1", "1.1"]),
        (layers.BatchNorm2d, ["1.1"]),
        (["2", nn.InstanceNorm2d], ["1.2", "2"]),
        (lambda name, module: name.startswith("0") and module.affine, ["0.1"]),
    ],
)
def test_selection(where: Any, names: list[str]) -> None:
    model, edits = freeze(network(), where=where)
    assert [edit.name for edit in edits] == names
    assert not {"1.2"} & {edit.name for edit in edits.changed}  # it has nothing to freeze
    assert [edit.name for edit in unfreeze(model)[1].changed] == [name for name in names if name != "1.2"]


def test_a_shared_layer_is_named_by_any_of_its_names() -> None:
    shared = nn.BatchNorm1d(4)
    model = nn.ModuleDict({"a": shared, "b": shared})
    _, edits = freeze(model, where="b")
    assert [edit.name for edit in edits] == ["a"]


def test_a_weight_of_two_layers() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.BatchNorm1d(4))
    model[1].weight = model[0].weight
    frozen, _ = freeze(model)
    assert frozen[0].weight is frozen[1].weight
    again, _ = unfreeze(frozen)
    assert again[1].weight.requires_grad


def test_an_exception_does_not_leave_a_derived_layer_in_evaluation() -> None:
    layer = freeze(WithActivation(4).train(), inplace=True)[0]
    with pytest.raises(RuntimeError, match="one"):
        layer(drawn(2, 1))
    assert layer.training
    assert "_mode_before_pass" not in vars(layer)
    assert layer.eval()(drawn(2)).shape == (6, 4, 3, 3)
    assert not layer.training


def test_a_derived_layer_tracks_nothing_under_a_checkpoint() -> None:
    layer = freeze(WithActivation(4).train(), inplace=True)[0]
    x = drawn(2).requires_grad_()
    torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False).square().sum().backward()
    assert layer.num_batches_tracked == 0
    assert x.grad is not None


def test_other_operations_know() -> None:
    model = network()
    freeze(model, where=["0", "1"], inplace=True)
    _, edits = recalibrate(model, [torch.randn(4, 3, 5, 5)])
    assert [edit.name for edit in edits.changed] == ["2"]
    # What became something else in between stays that.
    fused, _ = accelerate(nn.Sequential(freeze(nn.BatchNorm1d(4))[0], nn.ReLU()))
    assert isinstance(fused[0], layers.BatchNormAct1d)
    loose, edits = unfreeze(fused)
    assert type(loose[0]) is layers.BatchNormAct1d
    assert not loose[0].statistics_frozen
    assert edits["0"].why == "it stays normwise's: it is another class now"
    shared, _ = synchronize(freeze(nn.Sequential(nn.BatchNorm1d(4)))[0])
    loose, edits = unfreeze(shared)
    assert type(loose[0]) is layers.BatchNorm1d
    assert edits["0"].why == "it stays normwise's: it shares its statistics with others"


def test_what_was_frozen_by_hand() -> None:
    layer = layers.BatchNorm1d(4).freeze_statistics()
    layer.weight.requires_grad_(False)
    loose, edits = unfreeze(layer)
    assert not loose.statistics_frozen
    assert layer.statistics_frozen
    assert not loose.weight.requires_grad  # who knows why
    assert edits[""].changed


def test_a_narrow_model() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4)).bfloat16()
    frozen, _ = freeze(model)
    assert frozen[0].running_var.dtype == torch.bfloat16
    x = drawn(1).bfloat16()
    torch.testing.assert_close(frozen.train()(x), copy.deepcopy(model).eval()(x))
    assert frozen[0].num_batches_tracked == 0


def test_a_frozen_model_compiles_and_exports() -> None:
    torch.compiler.reset()
    model = freeze(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))[0].train()
    x = torch.randn(2, 3, 4, 4)
    expected = model(x)
    torch.testing.assert_close(torch.compile(model, backend="aot_eager", fullgraph=True)(x), expected)
    torch.testing.assert_close(torch.export.export(model.eval(), (x,)).module()(x), expected)


@pytest.mark.parametrize("function", [freeze, unfreeze])
@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (nn.Linear(2, 2), {}, "must have a batch or instance normalization"),
        (network(), {"where": "3"}, "`where` must select a batch or instance normalization. Got '3'"),
        (network(), {"where": nn.LayerNorm}, "must select"),
        (nn.BatchNorm1d, {}, "call it first"),
    ],
)
def test_clear_errors(function: Any, model: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        function(model, **options)


def test_a_lazy_layer_stays() -> None:
    _, edits = freeze(nn.Sequential(nn.LazyBatchNorm1d()))
    assert edits["0"].why == "it has no parameters yet: run a batch through the model first"
