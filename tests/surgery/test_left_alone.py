"""What may do more than its class says is left alone, with the reason."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import normwise as nw
from normwise.errors import ArgumentError

Same = Callable[..., None]
FLAT = (5, 6)


def hook(*_: object) -> None:
    return None


HOOKS: list[Callable[[nn.Module], object]] = [
    lambda module: module.register_forward_hook(hook),
    lambda module: module.register_forward_pre_hook(hook),
    lambda module: module.register_full_backward_hook(hook),
    lambda module: module.register_full_backward_pre_hook(hook),
    lambda module: module.register_state_dict_post_hook(hook),
    lambda module: module.register_state_dict_pre_hook(hook),
    lambda module: module.register_load_state_dict_pre_hook(hook),
    lambda module: module.register_load_state_dict_post_hook(hook),
]


@pytest.mark.parametrize("number", range(len(HOOKS)))
def test_modules_with_hooks(number: int) -> None:
    old = nn.Sequential(nn.BatchNorm1d(6), nn.ReLU(), nn.LayerNorm(6), nn.ReLU(), nn.Dropout())
    for place in (0, 3, 4):
        HOOKS[number](old[place])
    new, edits = nw.accelerate(old)
    assert [type(module) for module in new] == [nn.BatchNorm1d, nn.ReLU, nw.LayerNorm, nn.ReLU, nn.Dropout]
    assert [tuple(edit)[1:] for edit in edits] == [
        ("nn.BatchNorm1d", "nn.BatchNorm1d", "it has hooks"),
        ("nn.LayerNorm", "nw.LayerNorm", "the same operation; not fused: `3`: it has hooks"),
        ("nn.Dropout", "nn.Dropout", "it has hooks"),
    ]
    assert [edit.name for edit in edits.left_alone] == ["0", "4"]
    assert "4     nn.Dropout      left alone    it has hooks" in str(edits)


def test_a_hook_around_a_norm_sees_what_it_saw() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 6), nn.LayerNorm(6))
            self.activation = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.activation(self.body(x))

    seen: list[Tensor] = []
    old = Net()
    assert type(nw.accelerate(old)[0].body[3]) is nw.LayerNormAct
    old.body.register_forward_hook(lambda module, inputs, output: seen.append(output))
    new, _ = nw.accelerate(old)
    assert seen == []  # nothing was seen while it was traced
    assert [type(new.body[place]) for place in (0, 3)] == [nw.LayerNormAct, nw.LayerNorm]
    x = torch.randn(FLAT)
    old(x)
    new(x)
    torch.testing.assert_close(seen[0], seen[1])
    assert seen[0].min() < 0


def test_a_monitor_goes_on_hearing_of_the_model() -> None:
    class Monitor:
        def __init__(self) -> None:
            self.heard = 0

        def hear(self, *_: object) -> None:
            self.heard += 1

    monitor = Monitor()
    old = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
    old[0].register_forward_hook(monitor.hear)
    new, _ = nw.accelerate(old)
    new(torch.randn(FLAT))
    assert monitor.heard == 1


def test_subclasses_and_relatives() -> None:
    class Mine(nn.BatchNorm1d):
        pass

    rows = [
        (Mine(6), "Mine", "a subclass may do more than its base"),
        (nn.LazyBatchNorm1d(), "nn.LazyBatchNorm1d", "it has no shape before the first batch"),
        (nn.SyncBatchNorm(6), "nn.SyncBatchNorm", "its statistics are those of several processes"),
        (nn.Dropout2d(), "nn.Dropout2d", "normwise has no faster form of it"),
        (nn.AlphaDropout(), "nn.AlphaDropout", "normwise has no faster form of it"),
        (
            parametrizations.weight_norm(nn.LayerNorm(6), dim=None),
            "ParametrizedLayerNorm",
            "a subclass may do more than its base",
        ),
    ]
    for module, name, why in rows:
        new, edits = nw.accelerate(nn.Sequential(module, nn.ReLU()))
        assert type(new[0]) is type(module)
        assert type(new[1]) is nn.ReLU
        assert [tuple(edit) for edit in edits] == [("0", name, name, why)]


def extra_parameter(module: nn.Module) -> None:
    module.register_parameter("temperature", nn.Parameter(torch.ones(())))


def extra_buffer(module: nn.Module) -> None:
    module.register_buffer("seen", torch.zeros(()))


def child(module: nn.Module) -> None:
    module.inner = nn.Linear(2, 2)


def other_forward(module: nn.Module) -> None:
    module.forward = lambda x: 2 * x


def no_weight(module: nn.Module) -> None:
    del module.weight
    module.weight = torch.ones(6)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (extra_parameter, "it has a parameter `temperature` that its class has not"),
        (extra_buffer, "it has a buffer `seen` that its class has not"),
        (child, "it has modules of its own"),
        (other_forward, "its `forward` was replaced"),
        (no_weight, "its parameter `weight` was taken away"),
    ],
)
def test_modules_that_hold_more_or_less_than_their_class(
    change: Callable[[nn.Module], None], why: str, same: Same
) -> None:
    old = nn.Sequential(nn.BatchNorm1d(6), nn.ReLU())
    change(old[0])
    new, edits = nw.accelerate(old)
    assert type(new[0]) is nn.BatchNorm1d
    assert type(new[1]) is nn.ReLU
    assert edits["0"].why == why
    same(old, new, torch.randn(FLAT))


def test_shared_modules_are_swapped_together_and_not_fused(same: Same) -> None:
    norm = nn.BatchNorm1d(6)
    old = nn.Sequential(norm, nn.ReLU(), nn.Tanh(), norm, nn.ReLU())
    new, edits = nw.accelerate(old)
    assert type(new[0]) is nw.BatchNorm1d
    assert new[0] is new[3]
    assert [edit.name for edit in edits] == ["0", "3"]
    assert edits["3"].why == "the same operation; not fused: it is called more than once"
    same(old, new, torch.randn(FLAT))
    back, _ = nw.decelerate(new)
    assert type(back[0]) is nn.BatchNorm1d
    assert back[0] is back[3]


def test_a_block_at_two_places(same: Same) -> None:
    block = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.GELU())
    old = nn.Sequential(block, nn.Tanh(), block)
    new, _ = nw.accelerate(old)
    assert new[0] is new[2]
    assert type(new[0][1]) is nw.LayerNorm
    same(old, new, torch.randn(FLAT))


def test_a_shared_activation(same: Same) -> None:
    activation = nn.ReLU()
    old = nn.Sequential(nn.LayerNorm(6), activation, nn.Linear(6, 6), nn.LayerNorm(6), activation)
    new, edits = nw.accelerate(old)
    assert new[1] is new[4]
    assert type(new[0]) is nw.LayerNorm
    assert "`1` is called more than once" in edits["0"].why
    same(old, new, torch.randn(FLAT))


@pytest.mark.parametrize(
    ("place", "why"), [(0, "it stands at several places"), (1, "`0` stands at several places")]
)
def test_a_module_of_two_names_that_is_called_once(place: int, why: str) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            parts = [nn.LayerNorm(6), nn.ReLU()]
            self.other = nn.ModuleList([parts[place]])
            self.norm, self.activation = parts

        def forward(self, x: Tensor) -> Tensor:
            return self.activation(self.norm(x))

    new, edits = nw.accelerate(Two())
    assert type(new.norm) is nw.LayerNorm
    assert new.other[0] is (new.norm, new.activation)[place]
    assert edits.entries[-1].why == f"the same operation; not fused: {why.replace('`0`', '`other.0`')}"


def test_tied_weights_stay_tied(same: Same) -> None:
    old = nn.Sequential(nn.LayerNorm(6), nn.Tanh(), nn.LayerNorm(6))
    old[2].weight = old[0].weight
    new, _ = nw.accelerate(old)
    assert new[0].weight is new[2].weight is old[0].weight
    same(old, new, torch.randn(FLAT))


def in_list(model: nn.Module) -> None:
    model.stages = [model[1:2][0]]


def in_partial(model: nn.Module) -> None:
    model.stages = {"act": functools.partial(torch.utils.checkpoint.checkpoint, model[1])}


def in_closure(model: nn.Module) -> None:
    norm = model[1]
    model.register_forward_hook(lambda *_: norm.eps and None)


@pytest.mark.parametrize(
    ("hold", "why"),
    [
        (in_list, "`stages` of the model holds it, too"),
        (in_partial, "`stages` of the model holds it, too"),
        (in_closure, "a hook of the model holds it, too"),
    ],
)
def test_what_is_held_beside_its_place(hold: Callable[[nn.Module], None], why: str) -> None:
    model = nn.Sequential(nn.Tanh(), nn.BatchNorm1d(6), nn.ReLU())
    hold(model)
    _, edits = nw.accelerate(model, inplace=True)
    assert type(model[1]) is nn.BatchNorm1d
    assert [tuple(edit) for edit in edits] == [("1", "nn.BatchNorm1d", "nn.BatchNorm1d", why)]


def test_functions_that_hold_modules_cannot_be_copied() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
    in_closure(model)
    with pytest.raises(ArgumentError, match=r"a hook of the model, a function that holds .*inplace=True"):
        nw.accelerate(model)
    heard: list[Tensor] = []
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
    model.register_forward_hook(lambda module, inputs, output: heard.append(output))
    nw.accelerate(model)[0](torch.randn(FLAT))
    assert len(heard) == 1


def test_an_activation_that_is_held_beside_its_place() -> None:
    model = nn.Sequential(nn.BatchNorm1d(6), nn.ReLU())
    model.observed = [model[1]]
    new, edits = nw.accelerate(model)
    assert type(new[0]) is nw.BatchNorm1d
    assert new.observed[0] is new[1]
    assert edits["0"].why == "the same operation; not fused: `1`: `observed` of the model holds it, too"


def test_parts_of_compiled_modules() -> None:
    model = nn.Sequential(torch.compile(nn.Sequential(nn.BatchNorm1d(6), nn.ReLU()), backend="eager"))
    _, edits = nw.accelerate(model, inplace=True)
    (entry,) = edits
    assert entry.name == "0._orig_mod.0"
    assert entry.why == "it is part of a compiled module"
    assert not entry.changed


def test_parts_of_quantized_modules() -> None:
    from torch.ao.nn.intrinsic import BNReLU2d

    new, edits = nw.accelerate(nn.Sequential(BNReLU2d(nn.BatchNorm2d(6), nn.ReLU())))
    assert type(new[0][0]) is nn.BatchNorm2d
    assert [edit.why for edit in edits] == ["it is part of a quantized module"]


def test_transformers_of_torch(same: Same) -> None:
    layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True)
    old = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    new, _ = nw.accelerate(old)
    assert type(new.layers[1].norm1) is nw.LayerNorm
    assert type(new.layers[0].dropout1) is nw.Dropout
    same(old, new, torch.randn(3, 4, 6))
    assert repr(nw.decelerate(new)[0]) == repr(old)
