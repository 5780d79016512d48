"""One normalization in the place of another: what stays, what is fitted, what is lost, and what is left alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import normwise as nw
from normwise.errors import ArgumentError, UnknownNameError
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


@pytest.mark.parametrize("target", OTHERS)
@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("number", [1, 3])
def test_moments_of_each_channel_are_those_of_the_old_norm(
    target: str, inplace: bool, number: int, stir: Stir
) -> None:
    old = stir(nn.Sequential(*network()[:4], nn.BatchNorm2d(18), nn.Tanh()))
    with torch.no_grad():
        old[1].weight[3] = 0.0
        old[1].weight[4] *= -1
    given, sign = copy.deepcopy(old), old[1].weight.detach().sign()
    batches = [torch.randn(IMAGES) * (1 + k) + k for k in range(number)]
    new, edits = convert(old, "batch", target, data=batches, inplace=inplace)
    assert [edit.name for edit in edits.changed] == ["1", "4"]
    assert all("fitted" in edit.why for edit in edits)
    for place in (1, 4):
        mean, var = (moments(model[: place + 1], batches) for model in (given, new))
        if target != "rms":
            np.testing.assert_allclose(var[0], mean[0], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(var[1], mean[1], rtol=1e-9, atol=1e-12)
    assert torch.equal(new[1].weight.sign(), sign)
    if not inplace:
        assert same_bits(state_of(old), state_of(given))
        assert new[0].weight is old[0].weight


def moments(model: nn.Module, batches: list[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    values = np.concatenate(
        [
            evaluated(model, batch).movedim(1, -1).reshape(-1, 12 if len(model) == 2 else 18).numpy()
            for batch in batches
        ]
    )
    return values.mean(axis=0), values.var(axis=0)


def test_the_mean_of_the_first_norm_is_matched_by_layer_norms_too(stir: Stir) -> None:
    old = stir(nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 8), nn.LayerNorm(8)))
    batches = [torch.randn(5, 7, 6), torch.randn(2, 7, 6) + 1]
    for target in ("rms", "dynamic_tanh"):
        new, edits = convert(old, "layer", target, data=batches)
        assert type(new[1]) is {"rms": nw.RMSNorm, "dynamic_tanh": nw.DynamicTanh}[target]
        for place in (1, 4):
            rows = [
                torch.cat([evaluated(model[: place + 1], x).reshape(-1, 8) for x in batches])
                for model in (old, new)
            ]
            torch.testing.assert_close(rows[0].var(0), rows[1].var(0), rtol=1e-9, atol=1e-9)
            if target != "rms":
                torch.testing.assert_close(rows[0].mean(0), rows[1].mean(0), rtol=1e-9, atol=1e-9)
        assert ("alpha fitted" in edits["1"].why) is (target == "dynamic_tanh")


def test_alpha_is_the_nearest_in_least_squares() -> None:
    torch.manual_seed(3)
    old = nn.Sequential(nn.LayerNorm(16))
    x = 4.0 * torch.randn(300, 16)
    new, _ = convert(old, "layer", "dynamic_tanh", data=x)

    def left(alpha: float) -> float:
        wanted, given = old(x).detach().numpy(), np.tanh(alpha * x.numpy())
        slope = ((wanted - wanted.mean(0)) * (given - given.mean(0))).mean(0) / given.var(0)
        return float(((wanted - wanted.mean(0) - slope * (given - given.mean(0))) ** 2).sum())

    chosen = float(new[0].alpha.detach())
    assert left(chosen) < left(chosen * 1.5)
    assert left(chosen) < left(chosen / 1.5)


def test_batch_norm_gets_running_statistics_of_the_data() -> None:
    old = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4))
    batches = [torch.randn(IMAGES) + 3, torch.randn(IMAGES) * 2]
    new, edits = convert(old, "group", "batch", data=batches)
    inputs = torch.cat([old[0](x) for x in batches]).movedim(1, -1).reshape(-1, 4).detach().numpy()
    np.testing.assert_allclose(new[1].running_mean.numpy(), inputs.mean(0), rtol=1e-12)
    np.testing.assert_allclose(new[1].running_var.numpy(), inputs.var(0, ddof=1), rtol=1e-12)
    assert new[1].num_batches_tracked == 2
    assert edits["1"].why.startswith("running statistics of the data")
    fresh, edits = convert(old, "group", "batch", example=batches[0])
    assert fresh[1].running_mean.eq(0).all()
    assert "running statistics begin at 0 and 1" in edits["1"].why


def test_a_layer_that_is_called_twice_is_fitted_over_both(stir: Stir) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Linear(6, 6), nn.BatchNorm1d(6)

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([y := self.norm(self.first(x)), self.norm(y + x)])

    old = stir(Twice())
    batches = [torch.randn(16, 6), torch.randn(8, 6)]
    new, _ = convert(old, "batch", "dynamic_tanh", data=batches)
    both = [torch.cat([evaluated(m, x).reshape(-1, 6) for x in batches]) for m in (old, new)]
    torch.testing.assert_close(both[0].mean(0), both[1].mean(0), rtol=0.01, atol=0.01)
    torch.testing.assert_close(both[0].var(0), both[1].var(0), rtol=0.01, atol=0.01)


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


def test_what_is_not_known_is_left_alone() -> None:
    class Mine(nn.BatchNorm1d):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).relu()

    class MyRMSNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(6))

    replaced = nn.BatchNorm1d(6)
    replaced.forward = nn.Identity().forward  # type: ignore[method-assign]
    held = nn.BatchNorm1d(6)
    held.track_running_stats = False
    with pytest.warns(DeprecationWarning, match="deprecated"):
        scripted = torch.jit.script(nn.BatchNorm1d(6))
    rows: list[tuple[nn.Module, str]] = [
        (Mine(6), "a subclass may do more than its base"),
        (MyRMSNorm(), "what MyRMSNorm computes is not known"),
        (nn.LazyBatchNorm1d(), "it has no shape before the first batch"),
        (parametrizations.weight_norm(nn.LayerNorm(6), dim=None), "it is parametrized"),
        (scripted, "it is part of a scripted module"),
        (replaced, "its `forward` was replaced"),
        (held, "it has running statistics that it does not track"),
    ]
    model = nn.Sequential(*(module for module, _ in rows))
    before = [type(module) for module in model]
    # A scripted module is copied by torch in a way of its own, and so are its parameters.
    new, edits = convert(model, ["batch", "layer", "rms"], "group", inplace=True)
    assert [edit.why for edit in edits] == [why for _, why in rows]
    assert [type(module) for module in new] == before


def test_what_its_input_does_not_allow_is_left_alone() -> None:
    def why(module: nn.Module, source: str, target: str, *shape: int) -> str:
        example = torch.randn(shape) if shape else None
        return convert(nn.Sequential(module), source, target, example=example)[1]["0"].why

    assert "give an example" in why(nn.GroupNorm(2, 4), "group", "batch")
    assert "give an example" in why(nn.SyncBatchNorm(4), "sync", "batch")
    assert "give an example" in why(nn.BatchNorm1d(4), "batch", "instance")
    assert "give an example" in why(nn.LayerNorm(4), "layer", "batch")
    assert "lie last in (2, 3, 4)" in why(nn.LayerNorm(4), "layer", "batch", 2, 3, 4)
    assert "single value" in why(nn.BatchNorm1d(4), "batch", "instance", 2, 4)
    assert "single value" in why(nn.BatchNorm2d(4), "batch", "instance", 2, 4, 1, 1)
    assert "single value" in why(nn.BatchNorm1d(1), "batch", "layer", 2, 1)
    assert "no axis of samples" in why(nn.InstanceNorm2d(4), "instance", "group", 4, 5, 5)
    assert "no axis of samples" in why(nn.InstanceNorm1d(4), "instance", "group", 4, 5)
    assert "tracks no statistics" in why(
        nn.BatchNorm1d(4, track_running_stats=False), "batch", "frozen", 2, 4
    )
    assert "its eps is 0" in why(nn.BatchNorm1d(4, eps=0.0), "batch", "ghost", 2, 4)


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
    back, _ = convert(new, "normwise", "torch", example=torch.randn(4, 6))
    assert [type(module) for module in back] == [nn.Linear, nn.GroupNorm, nn.ReLU, nn.Dropout]
    # Moments are those in front of the activation.
    x = torch.randn(40, 6)
    assert not torch.equal(evaluated(back[:2], x), evaluated(back, x))


def test_tanh_and_batch_norm_of_features_fit_before_the_activation(stir: Stir) -> None:
    old = stir(nn.Sequential(nn.Linear(6, 16), nw.BatchNormAct1d(16, activation="relu")))
    x = torch.randn(50, 6)
    new, _ = convert(old, "batch", "layer", data=x)
    for model in (old, new):
        model[1].activation = "none"
    before, after = (evaluated(model, x) for model in (old, new))
    torch.testing.assert_close(before.mean(0), after.mean(0), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(before.var(0), after.var(0), rtol=1e-9, atol=1e-9)


def test_masks_have_no_part_in_the_fit() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nw.BatchNorm1d(16)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            y: Tensor = self.norm(x, sample_weight=mask)
            return y

    x, mask = torch.randn(9, 16), torch.arange(9) < 6
    new, _ = convert(Masked(), "batch", "group:2", data={"x": x, "mask": mask})
    assert type(new.norm) is nw.GroupNorm


@pytest.fixture
def untouched(stir: Stir) -> Iterator[nn.Module]:
    """A model that is to be as it was, whatever is tried on it."""
    model = stir(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 15, 2)))
    model[1].eval()
    before, modes = copy.deepcopy(model), [module.training for module in model.modules()]
    torch.manual_seed(7)
    random = torch.get_rng_state()
    yield model
    assert torch.equal(torch.get_rng_state(), random)
    assert [type(module) for module in model.modules()] == [type(module) for module in before.modules()]
    assert [module.training for module in model.modules()] == modes
    assert same_bits(state_of(model), state_of(before))
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("inplace", [True, False])
def test_errors_change_nothing(untouched: nn.Module, inplace: bool) -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no")

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(IMAGES, generator=generator)
    cases: list[tuple[dict[str, object], type[Exception], str]] = [
        ({"target": "bacth"}, UnknownNameError, "Did you mean 'batch'"),
        ({"target": "group:0"}, ArgumentError, "must count groups"),
        ({"target": "layer:2"}, ArgumentError, "takes no number"),
        ({"target": "frozen:2"}, ArgumentError, "takes no number"),
        ({"source": "batch:2"}, ArgumentError, "without a number"),
        ({"source": "masked"}, ArgumentError, "write 'batch'"),
        ({"source": ()}, ArgumentError, "must name a normalization"),
        ({"source": "layer"}, ArgumentError, "other normalizations: 1 of 'batch'"),
        ({"where": "norm*"}, ArgumentError, "`where` must select a layer of Batch"),
        ({"example": torch.randn(2, 5, 7, 5, generator=generator)}, ArgumentError, "must run on the example"),
        ({"data": []}, ArgumentError, "`data` must have a batch"),
        ({"data": 3}, ArgumentError, "`data` must be batches or a loader"),
        ({"data": [x], "batches": 0}, ArgumentError, "`batches` must be at least 1"),
        ({"data": [x, x[:, :2]]}, ArgumentError, "must run on the batches of `data`"),
        ({"source": "torch"}, ArgumentError, "convert into each other"),
        ({"source": "torch", "target": "normwise", "where": "1"}, ArgumentError, "with `where`"),
    ]
    for options, kind, text in cases:
        given: dict[str, object] = {"source": "batch", "target": "group", "inplace": inplace} | options
        with pytest.raises(kind, match=text):
            convert(untouched, **given)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"must be a torch\.nn\.Module"):
        convert(nn.BatchNorm1d, "batch", "group")  # type: ignore[arg-type]


@pytest.mark.parametrize("inplace", [True, False])
def test_a_model_that_does_not_run_afterwards_is_not_changed(inplace: bool) -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(16)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.norm(x) * self.norm.running_var
            return y

    model = Reads()
    with pytest.raises(ArgumentError, match=r"must run on the example in training.*running_var"):
        convert(model, "batch", "group", example=torch.randn(4, 16), inplace=inplace)
    assert type(model.norm) is nn.BatchNorm1d
    assert model.norm.num_batches_tracked == 0


def test_an_evaluation_that_would_change_is_refused() -> None:
    class Peeks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(16)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.norm(x)
            return y if type(self.norm) is nn.BatchNorm1d else y + 1e-3

    with pytest.raises(ArgumentError, match="evaluation on the example must stay the same"):
        convert(Peeks(), "batch", "masked", example=torch.randn(4, 16))


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


def test_a_loader_and_a_way_to_run_a_batch() -> None:
    old = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16))
    data = torch.utils.data.TensorDataset(torch.randn(24, 6), torch.zeros(24))
    loader = torch.utils.data.DataLoader(data, batch_size=8)
    _, edits = convert(old, "batch", "layer", data=loader, batches=2)
    assert "fitted on 2 batches" in edits.notes
    batches = [(1.0, torch.randn(8, 6))]
    _, edits = convert(old, "batch", "layer", data=batches, forward=lambda model, batch: model(batch[1]))
    assert "weight and bias fitted to the data" in edits["1"].why


def test_layers_that_no_example_reached_are_named() -> None:
    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.BatchNorm1d(16), nn.BatchNorm1d(16)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.used(x)
            return y

    _, edits = convert(Skips(), "batch", "group", data=torch.randn(8, 16))
    assert edits["unused"].why.startswith("not called on the data, and copied; not called on the example")


def test_constant_channels_keep_their_weight() -> None:
    old = nn.Sequential(nn.BatchNorm1d(4)).eval()
    x = torch.randn(20, 4)
    x[:, 2] = 5.0
    new, edits = convert(old, "batch", "dynamic_tanh", data=x)
    assert new[0].weight[2] == 1.0
    torch.testing.assert_close(new(x)[:, 2], old(x)[:, 2])
    assert "but for the weights of 1 channels that are constant there" in edits["0"].why
