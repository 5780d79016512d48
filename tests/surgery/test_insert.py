"""Norms put into models that exist: where they belong, with nothing else changed, or refused with a reason."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import normwise as nw
from normwise.errors import ArgumentError, UnknownNameError
from normwise.layers.normalized import NormalizedConv2d, NormalizedLinear
from normwise.surgery import insert


class Net(nn.Module):
    """A residual network whose activations are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.hidden, self.head = nn.Linear(8, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = (x + self.inner(x)).relu()
        return self.head(self.hidden(x.mean((2, 3))).relu())


IMAGES = torch.randn(6, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "kind", ["batch", "layer", "group:4", "rms", "ghost:3", "batch_renorm", "dynamic_tanh"]
)
def test_every_layer_but_the_last_gets_one(kind: str) -> None:
    model = Net()
    new, edits = insert(model, kind, IMAGES)
    assert [edit.name for edit in edits.changed] == ["stem", "inner", "hidden"]
    assert edits["head"].why == "it gives the model's outputs"
    assert isinstance(new.stem, NormalizedConv2d)
    assert isinstance(new.hidden, NormalizedLinear)
    assert new.stem.weight is model.stem.weight
    assert type(model.stem) is nn.Conv2d  # the given one is as it was
    cancels = kind.partition(":")[0] in ("batch", "ghost", "batch_renorm")
    assert (new.stem.bias is None) == cancels
    assert model.stem.bias is not None
    names = set(new.state_dict())
    assert set(model.state_dict()) - names == (
        {"stem.bias", "inner.bias", "hidden.bias"} if cancels else set()
    )
    for training in (True, False):
        assert new.train(training)(IMAGES).isfinite().all()


def test_the_norm_normalizes_what_the_layer_gives() -> None:
    model, _ = insert(
        nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), "batch", torch.randn(9, 4).double()
    )
    x = torch.randn(9, 4, dtype=torch.float64)
    linear = model[0]
    expected = nw.BatchNorm1d(8).double()(nn.functional.linear(x, linear.weight))
    torch.testing.assert_close(linear(x), expected)
    other = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    torch.testing.assert_close(other.eval()(x), model.eval()(x))


def test_after_the_activation() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    new, edits = insert(model, "batch", torch.randn(9, 4).double(), where="after")
    assert edits["1"].after == "nn.ReLU → BatchNorm1d"
    assert new[0].bias is not None  # the norm does not cancel what went through a ReLU
    x = torch.randn(9, 4, dtype=torch.float64)
    torch.testing.assert_close(new[1](model[0](x)), nw.BatchNorm1d(8).double()(model[:2](x)))
    with pytest.raises(ArgumentError, match=r"`stem`: its outputs go elsewhere, too|no module of its own"):
        insert(Net(), "batch", IMAGES, where="after")


def test_identity_keeps_the_outputs() -> None:
    model = Net().eval()
    plain, _ = insert(model, "batch", IMAGES)
    same, _ = insert(model, "batch", IMAGES, identity=True)
    torch.testing.assert_close(same.eval()(IMAGES), model(IMAGES))
    assert (plain.eval()(IMAGES) - model(IMAGES)).abs().max() > 1e-2
    with pytest.raises(ArgumentError, match="`identity` needs a norm with running statistics"):
        insert(model, "layer", IMAGES, identity=True)


BATCHES = [
    (torch.randn(n, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(n)) + n, n)
    for n in (4, 7, 1)
]


def inputs_of(model: nn.Module, name: str) -> Tensor:
    """All that comes to a module over the batches, in evaluation, as (values, channels)."""
    seen: list[Tensor] = []
    handle = model.get_submodule(name).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    for x, _ in BATCHES:
        model.eval()(x)
    handle.remove()
    return torch.cat([x.movedim(1, -1).flatten(0, -2) for x in seen])


def test_statistics_of_data_are_those_that_each_norm_meets_in_evaluation() -> None:
    model = Net()
    new, _ = insert(model, "batch", IMAGES, data=BATCHES)
    for name in ("stem", "inner", "hidden"):
        norm: Any = new.get_submodule(name).norm
        x = inputs_of(new, f"{name}.norm")
        torch.testing.assert_close(norm.running_mean, x.mean(dim=0))
        torch.testing.assert_close(norm.running_var, x.var(dim=0))
        assert torch.equal(norm.weight, torch.ones_like(norm.weight))
    few, _ = insert(
        model, "batch", IMAGES, data=iter([BATCHES]), identity=True, forward=lambda m, b: m(b[0][0])
    )
    first, _ = insert(model, "batch", IMAGES, data=BATCHES, identity=True, batches=1)
    assert torch.equal(few.stem.norm.running_var, first.stem.norm.running_var)


def test_the_identity_on_data_is_one_for_any_input() -> None:
    model = Net().eval()
    new, _ = insert(model, "batch", IMAGES, identity=True, data=BATCHES)
    other = 100 * torch.randn_like(IMAGES)
    torch.testing.assert_close(new.eval()(other), model(other))
    x = inputs_of(new, "inner.norm")
    torch.testing.assert_close(new.inner.norm.running_mean, x.mean(dim=0))
    torch.testing.assert_close(new.inner.norm.running_var, x.var(dim=0))


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        ("layer", BATCHES, "`data` needs a norm with running statistics. Got LayerNorm2d"),
        ("batch", [], "`loader` must give a batch"),
        ("batch", IMAGES, "`data` must give one batch after another"),
        ("batch", [(IMAGES[:, :2], 0)], "expected input"),
    ],
)
def test_data_that_cannot_be_used_changes_nothing(kind: str, data: Any, words: str) -> None:
    model = Net()
    before = copy.deepcopy(model)
    with pytest.raises(Exception, match=words):
        insert(model, kind, IMAGES, data=data, inplace=True)
    assert repr(model) == repr(before)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))
    with pytest.raises(ArgumentError, match="two finite values of each channel"):
        insert(model, "batch", IMAGES, data=[(IMAGES * torch.nan, 0)], identity=True)


def test_what_is_left_alone_and_why() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice, self.tied, self.hooked = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
            self.normed, self.norm, self.unused = nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4)
            self.tokens, self.fine, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
            self.hooked.register_forward_hook(lambda *_: None)

        def forward(self, x: Tensor) -> Tensor:
            x = self.twice(self.twice(x)).tanh()
            x = nn.functional.linear(self.tied(x), self.tied.weight)
            x = self.norm(self.normed(self.hooked(x).relu()))
            x = self.tokens(x[:, None].expand(-1, 3, -1)).sum(1)
            return self.head(self.fine(x).relu())

    _, edits = insert(Odd(), "batch", torch.randn(5, 4).double())
    assert [edit.name for edit in edits.changed] == ["fine"]
    reasons = {edit.name: edit.why for edit in edits.left_alone}
    assert "called 2 times" in reasons["twice"]
    assert "read outside of it" in reasons["tied"]
    assert "hooks" in reasons["hooked"]
    assert reasons["normed"] == "`norm` normalizes it already"
    assert "not called" in reasons["unused"]
    assert "channels are last" in reasons["tokens"]
    _, edits = insert(Odd(), "layer", torch.randn(5, 4).double(), only=["to*", "head"], output=True)
    assert [edit.name for edit in edits.changed] == ["tokens", "head"]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_convolutions_of_all_ranks(rank: int, transposed: bool) -> None:
    layer = getattr(nn, f"Conv{'Transpose' if transposed else ''}{rank}d")(3, 8, 3)
    model = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    x = torch.randn(4, 3, *(4,) * rank).double()
    model(x)
    for kind in ("batch", "group", "layer", "rms", "instance"):
        new, edits = insert(model, kind, x)
        assert edits["0"].changed
        assert new(x).shape == (4, 2)


def test_in_place_the_model_and_the_optimizer_go_on() -> None:
    model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 2)).float()
    x = torch.randn(9, 4).float()
    layer, weight = model[0], model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    new, _ = insert(model, "batch", x, inplace=True)
    assert new is model
    assert new[0] is layer
    new(x).square().sum().backward()
    before = weight.detach().clone()
    optimizer.step()
    assert not torch.equal(weight, before)
    assert new[0].norm.weight.dtype == torch.float32


def test_wrong_words_and_models_are_one_message() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    x = torch.randn(9, 4).double()
    with pytest.raises(UnknownNameError, match="batsh"):
        insert(model, "batsh", x)
    with pytest.raises(UnknownNameError, match="after, before"):
        insert(model, "batch", x, where="between")
    with pytest.raises(ArgumentError, match="must run on the example"):
        insert(model, "batch", torch.randn(9, 5).double())
    with pytest.raises(ArgumentError, match=r"a layer must be there that can take 'batch'.*Got 0 \(it gives"):
        insert(nn.Sequential(nn.Linear(4, 2)), "batch", x)
    with pytest.raises(ArgumentError, match=r"must run with its norms in training.*more than 1 value"):
        insert(model, "batch", x[:1])
    assert type(model[0]) is nn.Linear


def test_what_was_inserted_is_folded_away_again() -> None:
    model = Net()
    new, _ = insert(model, "batch", IMAGES)
    for _ in range(3):
        new.train()(IMAGES + torch.randn(IMAGES.shape))
    folded, edits = nw.fold(new.eval(), IMAGES)
    assert type(folded.stem) is nn.Conv2d
    assert edits["stem.norm"].why == "in `stem`"
    torch.testing.assert_close(folded(IMAGES), new(IMAGES))
    kept, edits = nw.fold(insert(model, "group:4", IMAGES)[0].eval(), IMAGES)
    assert isinstance(kept.stem, NormalizedConv2d)
    assert "no fixed scale and shift" in edits["stem.norm"].why or "may do more" in edits["stem.norm"].why


def test_a_single_pattern_is_one_pattern() -> None:
    _, edits = insert(Net(), "batch", IMAGES, only="st*")
    assert [edit.name for edit in edits.changed] == ["stem"]
    assert insert(Net(), "batch", IMAGES, only=["stem", "hidden"])[1].changed[1].name == "hidden"


def test_one_image_is_no_batch() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    for kind in ("batch", "layer", "group"):
        with pytest.raises(ArgumentError, match="the example must be a batch"):
            insert(model, kind, IMAGES[0])


def test_what_is_normalized_in_another_shape_or_by_a_function_is_left_alone() -> None:
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.n, self.b, self.c = (
                nn.Linear(4, 4),
                nn.BatchNorm1d(4),
                nn.Linear(4, 4),
                nn.Linear(4, 4),
            )
            self.d = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.n(self.a(x).transpose(1, 2)).transpose(1, 2)
            x = nn.functional.layer_norm(self.b(x).relu(), (4,)) + nn.functional.layer_norm(
                self.b.weight[:1], (4,)
            )
            return self.d(nn.functional.layer_norm(self.c(x), (4,)))

    with pytest.raises(
        ArgumentError, match=r"a \(`n` normalizes it already\).*c \(a function normalizes it already"
    ):
        insert(Rows(), "layer", torch.randn(3, 5, 4, dtype=torch.float64), only=["a", "c"])


def test_arguments_by_name_go_on_to_the_layer() -> None:
    class Up(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.head = nn.ConvTranspose2d(3, 4, 3, stride=2), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.up(x, output_size=(12, 12)).relu())

    new, _ = insert(Up(), "batch", IMAGES)
    assert new(IMAGES).shape == (6, 2, 12, 12)


def test_behind_an_activation_that_changes_the_width_or_works_in_place() -> None:
    rows = torch.randn(9, 4, dtype=torch.float64)
    gated, _ = insert(nn.Sequential(nn.Linear(4, 8), nn.GLU(), nn.Linear(4, 2)), "batch", rows, where="after")
    assert gated[1].norm.num_features == 4
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 2))
    new, _ = insert(model, "batch", rows, where="after")
    assert model[1].inplace
    torch.testing.assert_close(new[1](model[0](rows)), nw.BatchNorm1d(8)(model[0](rows).relu()))


def test_half_precision_starts_as_the_identity_as_nearly_as_it_can() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).bfloat16().eval()
    rows = torch.randn(64, 4).bfloat16()
    new, _ = insert(model, "batch", rows, identity=True)
    torch.testing.assert_close(new.eval()(rows), model(rows), rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (nn.BatchNorm1d, {}, "`kind` must be the name of a normalization"),
        ("group:x", {}, "the number behind group must count"),
        ("weight", {}, "the kind must normalize activations"),
        ("batch", {"batches": 0, "data": []}, "`batches` must be at least 1"),
    ],
)
def test_a_wrong_kind_is_told_even_where_no_layer_is_free(
    kind: Any, given: dict[str, Any], words: str
) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
    with pytest.raises(ArgumentError, match=words):
        insert(model, kind, torch.randn(9, 4, dtype=torch.float64), **given)


def test_random_numbers_go_on_and_no_hook_stays() -> None:
    model = Net()
    before = torch.get_rng_state()
    insert(model, "batch", IMAGES)
    assert torch.equal(torch.get_rng_state(), before)
    tables = vars(torch.nn.modules.module)
    assert not any(
        tables[name] for name in tables if name.startswith("_global") and name.endswith(("hooks", "kwargs"))
    )


def test_the_record_says_that_optimizers_must_be_told() -> None:
    assert "add_param_group" in insert(Net(), "batch", IMAGES)[1].notes[0]


def test_layers_that_torchs_fast_path_reads_are_left_alone() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    model = nn.Sequential(nn.Linear(4, 4), layer, nn.Linear(4, 2)).double()
    _, edits = insert(model, "layer", torch.randn(3, 5, 4, dtype=torch.float64))
    assert [edit.name for edit in edits.changed] == ["0"]
    assert "fast path in `1` reads it in evaluation" in edits["1.linear1"].why


def test_a_model_that_cannot_be_copied_is_told_behind_activations_too() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    model[0].cache = model[0].weight * 2
    with pytest.raises(ArgumentError, match=r"`0\.cache`, a result with a graph of gradients"):
        insert(model, "batch", torch.randn(9, 4, dtype=torch.float64), where="after")
