"""One normalization in the place of another: what it becomes, what stays, what is lost."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import normwise as nw
from normwise.layers._sharing import shared_by
from normwise.surgery import convert

Stir = Callable[[nn.Module], nn.Module]
IMAGES = (4, 3, 7, 5)
LOSSLESS = ("sync", "frozen", "ghost", "ghost:2", "batch_renorm", "masked")
OTHERS = ("group", "group:3", "instance", "layer", "rms", "dynamic_tanh")


def network(**options: object) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 12, 3),
        nn.BatchNorm2d(12, eps=1e-3, momentum=0.2, **options),  # type: ignore[arg-type]
        nn.Tanh(),
        nn.Conv2d(12, 18, 2),
        nw.BatchNormAct2d(18, activation="tanh"),
    )


def evaluated(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        output: Tensor = copy.deepcopy(model).eval()(x)
    return output


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("target", LOSSLESS)
@pytest.mark.parametrize("inplace", [True, False])
def test_what_keeps_evaluation_keeps_everything_there_and_back(
    target: str, inplace: bool, stir: Stir
) -> None:
    old = stir(nn.Sequential(*network()[:4], nn.BatchNorm2d(18), nn.SyncBatchNorm(18)))
    x = torch.randn(IMAGES)
    expected, state = evaluated(old, x), state_of(old)
    tensors = [*old.parameters(), *(b for n, b in old.named_buffers() if n in state)]
    there, edits = convert(old, "batch", target, example=x, inplace=inplace)
    assert (there is old) is inplace
    assert [edit.name for edit in edits.changed] == ["1", "4"]
    assert same_bits(state_of(there), state)
    torch.testing.assert_close(evaluated(there, x), expected, rtol=1e-12, atol=1e-12)
    assert (there[1].eps, there[1].momentum) == (1e-3, 0.2)
    back, _ = convert(there, target.partition(":")[0] if target != "masked" else "batch", "masked")
    if target == "sync":
        # What was synchronized before is no longer, either.
        assert type(back[5]) is nn.SyncBatchNorm
    plain, _ = convert(back, "normwise", "torch")
    assert [type(plain[place]) for place in (1, 4)] == [nn.BatchNorm2d, nn.BatchNorm2d]
    assert same_bits(state_of(plain), state)
    now = [*plain.parameters(), *(b for n, b in plain.named_buffers() if n in state)]
    assert all(one is other for one, other in zip(now, tensors, strict=True))


def test_each_becomes_what_it_says(stir: Stir) -> None:
    x = torch.randn(IMAGES)
    found = {}
    for target in (*LOSSLESS, *OTHERS):
        new, edits = convert(stir(network()), "batch", target, example=x)
        found[target] = edits["1"].after, type(new[1]).__name__, edits["4"].after
    assert found == {
        "sync": (
            "nw.BatchNorm2d over all processes",
            "BatchNorm2d",
            "nw.BatchNormAct2d(activation='tanh') over all processes",
        ),
        "frozen": (
            "nw.BatchNorm2d, statistics frozen",
            "BatchNorm2d",
            "nw.BatchNormAct2d(activation='tanh'), statistics frozen",
        ),
        "ghost": (
            "nw.GhostBatchNorm2d, 32 samples a ghost",
            "GhostBatchNorm2d",
            "nw.BatchNormAct2d(activation='tanh')",
        ),
        "ghost:2": (
            "nw.GhostBatchNorm2d, 2 samples a ghost",
            "GhostBatchNorm2d",
            "nw.BatchNormAct2d(activation='tanh')",
        ),
        "batch_renorm": ("nw.BatchRenorm2d", "BatchRenorm2d", "nw.BatchNormAct2d(activation='tanh')"),
        "masked": ("nw.BatchNorm2d", "BatchNorm2d", "nw.BatchNormAct2d(activation='tanh')"),
        "group": ("nw.GroupNorm, 1 groups", "GroupNorm", "nw.GroupNormAct(activation='tanh'), 2 groups"),
        "group:3": ("nw.GroupNorm, 3 groups", "GroupNorm", "nw.GroupNormAct(activation='tanh'), 3 groups"),
        "instance": ("nw.InstanceNorm2d", "InstanceNorm2d", "nw.InstanceNormAct2d(activation='tanh')"),
        "layer": ("nw.LayerNorm2d", "LayerNorm2d", "nw.LayerNormAct2d(activation='tanh')"),
        "rms": ("nw.RMSNorm2d", "RMSNorm2d", "nw.RMSNormAct2d(activation='tanh')"),
        "dynamic_tanh": ("nw.DynamicTanh2d", "DynamicTanh2d", "nw.BatchNormAct2d(activation='tanh')"),
    }
    left = convert(stir(network()), "batch", "ghost", example=x)[1]["4"].why
    assert left.startswith("there is no Ghost Batch Normalization with an activation")


@pytest.mark.parametrize("target", OTHERS)
def test_parameters_are_the_very_same(target: str, stir: Stir) -> None:
    old = stir(network()).half()
    old[1].weight.requires_grad_(False)
    old[1].eval()
    new, edits = convert(old, "batch", target)
    assert new[1].weight is old[1].weight
    bias = new[1]._parameters.get("bias")
    assert bias is (None if target == "rms" else old[1].bias)
    assert not new[1].training
    assert new[2].training
    assert getattr(new[1], "eps", 1e-3) == 1e-3
    assert all(parameter.dtype is torch.float16 for parameter in new.parameters())
    assert all(
        p.requires_grad is (p is not new[1].weight and n != "1.alpha") for n, p in new.named_parameters()
    )
    assert ("bias" in edits["1"].why.partition("lost: ")[2]) is (target == "rms")
    assert "lost: running statistics" in edits["1"].why
    # The given model is as it was.
    assert type(old[1]) is nn.BatchNorm2d


def test_shared_modules_and_tied_parameters(stir: Stir) -> None:
    norm = nn.BatchNorm1d(16)
    tied = nn.BatchNorm1d(16)
    tied.weight = norm.weight
    old = stir(nn.Sequential(nn.Linear(16, 16), norm, nn.Linear(16, 16), norm, tied))
    new, edits = convert(old, "batch", "group", data=torch.randn(8, 16))
    assert new[1] is new[3]
    assert [edit.name for edit in edits] == ["1", "3", "4"]
    assert "another module has them, too" in edits["1"].why
    assert new[4].weight is new[1].weight is norm.weight


def test_a_number_of_groups_that_does_not_divide_is_replaced_and_named() -> None:
    model = nn.Sequential(nn.BatchNorm2d(40))
    _, edits = convert(model, "batch", "group:32")
    assert edits["0"].after == "nw.GroupNorm, 20 groups"
    assert "20 groups, since 32 do not divide 40 channels" in edits["0"].why
    again, edits = convert(convert(model, "batch", "group:20")[0], "group", "group:20")
    assert edits["0"].why == "it is Group Normalization already"
    assert convert(again, "group", "group:4")[0][0].num_groups == 4


HOOKS: list[Callable[[nn.Module, Callable[..., None]], object]] = [
    lambda module, hook: module.register_forward_hook(hook),
    lambda module, hook: module.register_forward_pre_hook(hook),
    lambda module, hook: module.register_full_backward_hook(hook),
]


@pytest.mark.parametrize("number", range(len(HOOKS)))
@pytest.mark.parametrize("inplace", [True, False])
def test_hooks_stay_with_the_layer(number: int, inplace: bool) -> None:
    heard: list[str] = []

    def hear(module: nn.Module, *_: object) -> None:
        heard.append(type(module).__name__)

    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16))
    handle = HOOKS[number](model[1], hear)
    layer = model[1]
    new, _ = convert(model, "batch", "group", inplace=inplace)
    assert (new[1] is layer) is inplace
    new(torch.randn(3, 4)).square().sum().backward()
    assert heard == ["GroupNorm"]
    if inplace:
        handle.remove()  # type: ignore[attr-defined]
        new(torch.randn(3, 4)).sum().backward()
        assert len(heard) == 1


def test_hooks_on_keys_that_go_are_a_reason() -> None:
    model = nn.Sequential(nn.BatchNorm1d(16))
    model[0].register_state_dict_post_hook(lambda *_: None)
    assert convert(model, "batch", "group")[1]["0"].why.startswith("it has hooks on its state_dict")
    assert type(convert(model, "batch", "ghost")[0][0]) is nw.GhostBatchNorm1d


def test_lists_and_functions_that_hold_a_layer_go_on_with_it() -> None:
    class Holds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(16)
            self.norms = [self.norm]

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.norms[0](x)
            return y

    for inplace in (True, False):
        new, _ = convert(Holds(), "batch", "layer", example=torch.randn(4, 16), inplace=inplace)
        assert new.norms[0] is new.norm
        assert type(new.norm) is nw.LayerNorm1d


def test_a_layer_that_is_the_model_is_converted_in_place() -> None:
    model = nn.BatchNorm1d(16)
    new, edits = convert(model, "batch", "layer", inplace=True)
    assert new is model
    assert type(model) is nw.LayerNorm1d  # type: ignore[comparison-overlap]
    assert edits[""].changed


@pytest.mark.parametrize(
    ("shape", "rank"), [((3, 4), 1), ((3, 4, 5), 1), ((3, 4, 5, 5), 2), ((3, 4, 2, 5, 5), 3)]
)
def test_the_rank_is_that_of_the_input(shape: tuple[int, ...], rank: int) -> None:
    for module, source in ((nn.GroupNorm(2, 4), "group"), (nn.SyncBatchNorm(4), "sync")):
        new, _ = convert(nn.Sequential(module), source, "batch", example=torch.randn(shape))
        assert type(new[0]).__name__ == f"BatchNorm{rank}d"


def test_weights_of_each_position_are_averaged() -> None:
    old = nn.Sequential(nn.LayerNorm((4, 5, 5)))
    with torch.no_grad():
        old[0].weight.add_(torch.randn(4, 5, 5))
    new, edits = convert(old, "layer", "group:1", example=torch.randn(3, 4, 5, 5))
    torch.testing.assert_close(new[0].weight.detach(), old[0].weight.detach().mean((1, 2)))
    assert "averaged" in edits["0"].why


def test_fused_layers_keep_what_they_vacated(stir: Stir) -> None:
    old = stir(nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3)))
    fused, _ = convert(old, "torch", "normwise", example=torch.randn(4, 6))
    new, edits = convert(fused, "batch", "group:4", data=torch.randn(40, 6))
    assert edits["1"].after == "nw.GroupNormAct(activation='relu', dropout=0.3), 4 groups"
    assert "`decelerate` takes the layer apart" in convert(fused, "batch", "ghost")[1]["1"].why
    back, _ = convert(new, "normwise", "torch", example=torch.randn(4, 6))
    assert [type(module) for module in back] == [nn.Linear, nn.GroupNorm, nn.ReLU, nn.Dropout]
    # Moments are those in front of the activation.
    x = torch.randn(40, 6)
    assert not torch.equal(evaluated(back[:2], x), evaluated(back, x))


def test_where_and_several_sources() -> None:
    model = nn.ModuleDict({"a": nn.BatchNorm1d(8), "b": nn.GroupNorm(2, 8), "c": nn.BatchNorm1d(8)})
    new, edits = convert(model, ["batch", "group"], "layer", where=["a", "b*"], inplace=True)
    assert [type(new[name]) for name in "abc"] == [nw.LayerNorm1d, nn.GroupNorm, nn.BatchNorm1d]
    assert [edit.name for edit in edits] == ["a", "b"]
    new, _ = convert(model, "batch", "layer", where=lambda name, module: module.num_features == 8)
    assert type(new["c"]) is nw.LayerNorm1d


def test_options_of_normwise_go_along_or_are_listed() -> None:
    old = nn.Sequential(nw.BatchNorm1d(16, single_sample="running", biased_running_var=True))
    new, _ = convert(old, "batch", "frozen")
    assert (new[0].single_sample, new[0].biased_running_var, new[0].statistics_frozen) == (
        "running",
        True,
        True,
    )
    thawed, _ = convert(new, "frozen", "batch")
    assert not thawed[0].statistics_frozen
    _, edits = convert(old, "batch", "ghost")
    assert edits["0"].why.endswith("lost: single_sample 'running'")
    _, edits = convert(convert(old, "batch", "ghost:8")[0], "ghost", "batch")
    assert "lost: ghost_size 8" in edits["0"].why
    synced, _ = convert(old, "batch", "sync")
    assert shared_by(synced[0]) is not None
    assert shared_by(convert(synced, "sync", "batch")[0][0]) is None
