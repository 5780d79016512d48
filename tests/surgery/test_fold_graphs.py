"""Folding in models that are no chains: what is provably right is folded, the rest is left with the true reason."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

import normwise as nw
from normwise.errors import ArgumentError
from normwise.surgery import fold


def filled(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for module in model.modules():
            if getattr(module, "running_mean", None) is not None:
                module.running_mean.normal_()
                module.running_var.uniform_(0.3, 2.0)
                module.weight.normal_(1.0, 0.5)
                module.bias.normal_(0.0, 0.7)
    return model.eval()


def outputs(model: nn.Module, x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        found = copy.deepcopy(model).eval()(x.clone())
    return list(found) if isinstance(found, tuple | list) else [found]


def assert_same(one: nn.Module, other: nn.Module, x: Tensor) -> None:
    for expected, actual in zip(outputs(one, x), outputs(other, x), strict=True):
        assert (actual - expected).abs().max() <= 1e-10 * expected.abs().max().clamp(min=1e-300)


class Net(nn.Module):
    """A convolution, a norm, a second of both, and a forward pass that a test gives."""

    def __init__(self, forward: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.other, self.other_norm = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self._forward = forward

    def forward(self, x: Tensor) -> Any:
        return self._forward(self, x)


def keeps(m: Any, x: Tensor) -> Tensor:
    m.kept = m.conv(x)
    return m.norm(m.kept)


def through_view(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    y.view(-1).relu_()
    return m.norm(y)


def written_between(m: Any, x: Tensor) -> Tensor:
    x = x * 2.0
    y = m.norm(x)
    x.relu_()
    return m.conv(y) + x


def by_mean(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    return m.norm(y) if y.mean() > -1e9 else y


LEFT: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "branch": (lambda m, x: m.norm(y := m.conv(x)) + y, "add in the model also reads what would change"),
    "returned": (lambda m, x: (y := m.conv(x), m.norm(y)), "is also returned, or kept, by the model"),
    "kept": (keeps, "is also returned, or kept, by the model"),
    "activated in place": (lambda m, x: m.norm(m.act(m.conv(x))), "relu_ writes into what would change"),
    "written through a view": (through_view, "also reads what would change"),
    "weight used elsewhere": (
        lambda m, x: m.norm(m.conv(x)) + F.conv2d(x, m.conv.weight),
        "`conv`: its `weight` is also read by convolution in the model",
    ),
    "norm's weight used elsewhere": (
        lambda m, x: m.norm(m.conv(x)) * m.norm.weight.mean(),
        "its `weight` is also read by mean in the model",
    ),
    "layer called elsewhere": (
        lambda m, x: m.norm(m.conv(x)) + m.conv(x),
        "`conv` is also called where this norm does not follow",
    ),
    "norm called elsewhere": (
        lambda m, x: m.norm(m.conv(x)) + m.norm(x),
        "neither right before nor right behind",
    ),
    "norm of a branch": (lambda m, x: m.conv(y := m.norm(x)) + y, "also reads what would change"),
    "written before it is read": (
        written_between,
        "relu_ writes into what goes into it before the next layer reads it",
    ),
    "a choice by value": (by_mean, "also reads what would change"),
    "with a residual": (lambda m, x: m.norm(m.conv(x), x), "it is called with more than one tensor"),
    "not reached": (lambda m, x: m.conv(x), "the example does not reach it"),
    "by its attribute": (lambda m, x: m.norm(m.conv(x)) * m.norm.eps, "the model then raises AttributeError"),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left_alone(name: str) -> None:
    forward, reason = LEFT[name]
    model, x = Net(forward), torch.randn(2, 4, 3, 5)
    if name == "with a residual":
        model.norm = nw.BatchNormAct2d(4)
    new, edits = fold(filled(model), x)
    assert reason in edits["norm"].why
    assert not edits["norm"].changed
    assert_same(model, new, x)


def doubled(m: Any, x: Tensor) -> Tensor:
    return m.norm(m.conv(m.norm(m.conv(x)).relu()))


FOLDED: dict[str, Callable[[Any, Tensor], Any]] = {
    "called twice, in the same way": doubled,
    "one norm behind two layers": lambda m, x: m.norm(m.conv(x)) + m.norm(m.other(x)),
    "one norm before two layers": lambda m, x: m.conv(y := m.norm(x)) + m.other(y),
    "activated in place afterwards": lambda m, x: m.act(m.norm(m.conv(x))) + x,
    "a branch afterwards": lambda m, x: (y := m.norm(m.conv(x))) + y.mean(),
    "another reader of the input": lambda m, x: m.conv(m.norm(x)) + x.relu(),
    "flattened between": lambda m, x: m.norm(m.conv(x).flatten(0, 0).reshape(x.shape)),
}


@pytest.mark.parametrize("name", FOLDED)
def test_what_is_folded(name: str) -> None:
    model, x = filled(Net(FOLDED[name])), torch.randn(2, 4, 3, 5)
    new, edits = fold(model, x)
    assert edits["norm"].changed, edits
    assert type(new.norm) is nn.Identity
    for batch in (1, 4):
        assert_same(model, new, 3.0 * torch.randn(batch, 4, 6, 2))


def test_shared_weights_become_weights_of_their_own() -> None:
    model = filled(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4)))
    model[3].weight = model[0].weight
    x = torch.randn(3, 4)
    new, edits = fold(model, x)
    assert edits["1"].changed
    assert new[2].weight is model[3].weight
    assert new[0].weight is not model[0].weight
    assert_same(model, new, torch.randn(2, 4))


class Flat(nn.Module):
    """A linear layer whose norm sees one row per token, as LeViT has it; or its axes swapped."""

    def __init__(self, *, swapped: bool) -> None:
        super().__init__()
        self.linear, self.norm, self.swapped = nn.Linear(5, 4), nn.BatchNorm1d(4), swapped

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        if self.swapped:
            return self.norm(y.transpose(1, 2)).transpose(1, 2)
        return self.norm(y.flatten(0, 1)).reshape_as(y)


def test_changes_of_shape_between() -> None:
    for swapped in (False, True):
        model = filled(Flat(swapped=swapped))
        new, edits = fold(model, torch.randn(2, 3, 5))
        assert type(new.norm) is nn.Identity
        assert_same(model, new, torch.randn(6, 7, 5))
    # As many positions as channels: only sizes that differ say which axis went where.
    _, edits = fold(model, torch.randn(2, 4, 5))
    assert "the example does not tell which axis goes where" in edits["norm"].why


def test_an_input_without_a_batch() -> None:
    model = filled(nn.Sequential(nn.Conv1d(3, 4, 1), nn.BatchNorm1d(4)))
    x = torch.randn(3, 4)  # (C, L) for the convolution, and its output (N, C) for the norm
    new, edits = fold(model, x)
    assert "on axis 1 of 2" in edits["1"].why
    assert_same(model, new, x)
    instance = filled(
        nn.Sequential(nn.Conv1d(3, 4, 1), nn.InstanceNorm1d(4, affine=True, track_running_stats=True))
    )
    new, edits = fold(instance, x)
    assert edits["1"].changed
    assert_same(instance, new, x)


def test_whoever_holds_or_hooks_a_module_keeps_it() -> None:
    x, seen = torch.randn(2, 4, 3, 3), []

    def hook(*_: Any) -> None:
        seen.append(1)

    def base() -> Any:
        return filled(
            Net(lambda m, x: m.norm(m.act_free(m.conv(x))) if hasattr(m, "act_free") else m.norm(m.conv(x)))
        )

    for place in ("conv", "norm"):
        model = base()
        getattr(model, place).register_forward_hook(hook)
        _, edits = fold(model, x)
        assert edits["norm"].why == (
            "it has hooks" if place == "norm" else "a hook of `conv` sees what would change"
        )
        model = base()
        model.held = [getattr(model, place)]
        _, edits = fold(model, x)
        assert "`held` of the model holds it, too" in edits["norm"].why
    model = base()
    model.act_free = nn.Identity()
    model.act_free.register_forward_hook(hook)
    _, edits = fold(model, x)
    assert edits["norm"].why == "a hook of `act_free` sees what would change"
    model = base()
    model.conv.forward = lambda x: x
    _, edits = fold(model, x)
    assert "its `forward` was replaced" in edits["norm"].why


class Indexed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.called = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.indexed = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        x = self.called(x)
        for layer in self.indexed[:2]:
            x = layer(x)
        return self.indexed[2](x)


def test_places_leave_only_what_nothing_indexes() -> None:
    model, x = filled(Indexed()), torch.randn(2, 4, 3, 3)
    new, edits = fold(model, x)
    assert [name for name, _ in new.called.named_children()] == ["0", "2"]
    assert type(new.indexed[1]) is nn.Identity
    assert (edits["called.1"].after, edits["indexed.1"].after) == ("", "nn.Identity")
    assert_same(model, new, x)
    kept, _ = fold(model, x, keep_places=True)
    assert type(kept.called[1]) is nn.Identity
    gone = {name for name, _ in model.named_modules()} - {name for name, _ in new.named_modules()}
    assert gone == {"called.1"}


def test_a_norm_that_stands_at_two_places() -> None:
    norm = nn.BatchNorm2d(4)
    model = filled(nn.Sequential(nn.Conv2d(4, 4, 1), norm, nn.ReLU(), nn.Conv2d(4, 4, 1), norm))
    new, edits = fold(model, torch.randn(2, 4, 3, 3))
    assert [type(module) for module in new] == [nn.Conv2d, nn.Identity, nn.ReLU, nn.Conv2d, nn.Identity]
    assert edits["1"].why == "in `0` and `3`"
    assert_same(model, new, torch.randn(3, 4, 2, 2))


def test_what_differs_after_all_is_taken_back() -> None:
    """A tensor read without an operator: the graph does not show it, the comparison does."""

    def peeks(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        return m.norm(y) + y.tolist()[0][0][0][0] * m.other_norm(m.other(x))

    model, x = filled(Net(peeks)), torch.randn(2, 4, 3, 5)
    new, edits = fold(model, x)
    assert "the outputs then differ by" in edits["norm"].why
    assert "in float64 (limit 1e-10)" in edits["norm"].why
    assert edits["other_norm"].changed  # the others are folded all the same
    assert_same(model, new, x)


def test_a_model_with_several_arguments_and_results() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.linear, self.norm = nn.Embedding(9, 4), nn.Linear(4, 4), nn.BatchNorm1d(4)

        def forward(self, tokens: Tensor, *, mask: Tensor, scale: float) -> dict[str, Tensor]:
            y = self.norm(self.linear(self.embed(tokens)))
            return {"y": y * mask[:, None] * scale, "choice": y.argmax(dim=1)}

    model = filled(Two())
    example = {"tokens": torch.arange(6), "mask": torch.tensor([True, False] * 3), "scale": 2.0}
    new, edits = fold(model, example)
    assert edits["norm"].changed
    assert torch.equal(new(**example)["choice"], model(**example)["choice"])


def test_a_model_that_makes_tensors_of_its_own_dtype() -> None:
    class Casts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
            self.scale = torch.tensor([2.0])

        def forward(self, x: Tensor) -> Tensor:
            y = self.norm(self.conv(x.to(torch.float32)))
            return y.float() @ torch.eye(y.shape[-1], dtype=torch.float32) * self.scale

    model = filled(Casts().float())
    _, edits = fold(model, torch.randn(2, 3, 4, 4).float())
    assert edits["norm"].changed
    assert float(edits.notes[1].split(": ")[1].split(" ")[0]) < 1e-13


def test_dropout_and_other_draws_are_the_same_in_both() -> None:
    class Noisy(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.rand_like(x)

    model = filled(Noisy(lambda m, x: m.norm(m.conv(x))))
    _, edits = fold(model, torch.randn(2, 4, 3, 3))
    assert edits["norm"].changed


def test_a_model_that_refuses_float64_is_refused() -> None:
    class Picky(Net):
        def forward(self, x: Tensor) -> Tensor:
            if x.dtype != torch.float32:
                raise TypeError("float32 only")
            return super().forward(x)

    model = filled(Picky(lambda m, x: m.norm(m.conv(x))).float())
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ArgumentError, match=r"fold: the model must run in float64.*float32 only"):
        fold(model, torch.randn(2, 4, 3, 3).float(), inplace=True)
    assert type(model.norm) is nn.BatchNorm2d
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# Random graphs.

OPS = ("conv", "grouped", "depthwise", "padded", "norm", "act", "act_", "add", "gain", "view", "weight")


class Program(nn.Module):
    """Steps (operation, which module, which values) over a growing list of values; the last ones are returned."""

    def __init__(self, steps: list[tuple[str, int, int, int]], results: int) -> None:
        super().__init__()
        self.steps, self.results = steps, results
        modes = ("zeros", "reflect", "circular", "replicate")
        self.conv = nn.ModuleList(nn.Conv2d(4, 4, 1, bias=bias) for bias in (True, False))
        self.grouped = nn.ModuleList(
            nn.Conv2d(4, 4, 3, padding=1, groups=2, padding_mode=mode) for mode in modes
        )
        self.depthwise = nn.ModuleList(nn.ConvTranspose2d(4, 4, 3, padding=1, groups=4) for _ in range(2))
        self.padded = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=2, dilation=2) for _ in range(2))
        self.norm = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(4))

    def forward(self, x: Tensor) -> list[Tensor]:
        values = [x + 0.0]
        for op, which, first, second in self.steps:
            a, b = values[-1 - first % len(values)], values[-1 - second % len(values)]
            if op in ("conv", "grouped", "depthwise", "padded", "norm"):
                modules = getattr(self, op)
                values.append(modules[which % len(modules)](a))
            elif op == "act_":
                values.append(F.relu_(a))
            else:
                values.append(
                    {
                        "act": lambda a=a: a.tanh(),
                        "add": lambda a=a, b=b: a + b,
                        "gain": lambda a=a: a * 0.5,
                        "view": lambda a=a: a.flatten(2).unflatten(2, a.shape[2:]),
                        "weight": lambda a=a, which=which: F.conv2d(a, self.conv[which % 2].weight),
                    }[op]()
                )
        return values[-self.results :]


STEPS = st.lists(
    st.tuples(
        st.sampled_from((*OPS, "norm", "norm", "conv", "padded")),
        st.integers(0, 3),
        st.sampled_from((0, 0, 0, 0, 1, 2)),
        st.integers(0, 3),
    ),
    min_size=2,
    max_size=10,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    steps=STEPS, results=st.integers(1, 2), seed=st.integers(0, 99), border=st.sampled_from(("pad", "refuse"))
)
def test_random_graphs(steps: list[tuple[str, int, int, int]], results: int, seed: int, border: str) -> None:
    torch.manual_seed(seed)
    model = filled(Program(steps, results))
    kept = copy.deepcopy(model)
    x = torch.randn(2, 4, 5, 6)
    new, edits = fold(model, x, border=border)
    for again in (x, 2.0 * torch.randn(3, 4, 7, 5)):
        assert_same(kept, new, again)
        assert_same(kept, model, again)
    # Nothing that the graph allows fails in the comparison.
    assert not any("the outputs then differ" in edit.why or "then raises" in edit.why for edit in edits), (
        edits
    )
    names = {name for name, _ in model.named_modules()}
    assert names == {name for name, _ in new.named_modules()}
    # A single pair in a row is always folded.
    if [op for op, *_ in steps] == ["conv", "norm"] and results == 1 and steps[1][2] == 0:
        assert edits.changed


def test_random_graphs_are_folded_at_all() -> None:
    """The property above says something only where there is something to fold."""
    steps = [("conv", 0, 0, 0), ("norm", 0, 0, 0), ("act_", 0, 0, 0), ("norm", 1, 0, 0), ("padded", 0, 0, 0)]
    model = filled(Program(steps, 1))
    new, edits = fold(model, torch.randn(2, 4, 5, 6))
    assert [edit.name for edit in edits.changed] == ["conv.0", "padded.0", "norm.0", "norm.1"]
    assert_same(model, new, torch.randn(1, 4, 6, 6))
