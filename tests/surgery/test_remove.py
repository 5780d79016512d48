"""Norms taken out of a model: nothing else changes, a bias comes back where the norm's own stood in for it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import normwise as nw
from normwise.errors import ArgumentError
from normwise.surgery import insert, remove

IMAGES = torch.randn(4, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def images(*norms: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), *norms, nn.ReLU(), nn.Conv2d(8, 2, 3))


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(8),
        nn.SyncBatchNorm(8),
        nn.GroupNorm(2, 8),
        nn.InstanceNorm2d(8, affine=True),
        nn.LayerNorm([8, 4, 4]),
        nn.LocalResponseNorm(3),
        nw.BatchNorm2d(8).freeze_statistics(),
        nw.SwitchableNorm2d(8),
        nw.DecorrelatedBatchNorm2d(8),
        nw.GlobalResponseNorm2d(8),
        nw.MeanOnlyBatchNorm2d(8),
    ],
    ids=lambda norm: type(norm).__name__,
)
def test_what_is_left_is_the_network_without_it(norm: nn.Module) -> None:
    model = images(norm).double()
    before = copy.deepcopy(model)
    new, edits = remove(model, IMAGES)
    assert [edit.name for edit in edits.changed] == ["1"]
    assert type(new[1]) is nn.Identity
    if getattr(norm, "bias", None) is not None:
        assert torch.equal(new[0].bias, torch.zeros(8))
        assert "`0` gets a bias" in edits["1"].why
    else:
        assert new[0].bias is None
    plain = nn.Sequential(model[0], nn.ReLU(), model[3])
    assert torch.equal(new(IMAGES), plain(IMAGES))
    assert new[0].weight is model[0].weight
    assert repr(model) == repr(before)  # the given one is as it was
    pairs = zip(model.state_dict().values(), before.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_fused_norm_leaves_activation_and_dropout() -> None:
    model = nn.Sequential(
        nn.Linear(4, 8), nw.BatchNormAct1d(8, activation="relu", dropout=0.25), nn.Linear(8, 2)
    )
    new, edits = remove(model, ROWS)
    assert [type(part) for part in new[1]] == [nn.ReLU, nn.Dropout]
    assert new[1][1].p == 0.25
    assert edits["1"].why == "its weight and bias go; no bias takes the place of its own"
    assert torch.equal(new.eval()(ROWS), model[2](model[0](ROWS).relu()))


def test_insert_and_remove_give_back_classes_names_and_places() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    new, edits = remove(insert(model, "batch", ROWS)[0], ROWS)
    assert repr(new) == repr(model)
    assert list(new.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert (edits.changed[0].name, edits.changed[0].after) == ("0.norm", "")
    after, _ = remove(insert(model, "batch", ROWS, where="after")[0], ROWS)
    assert torch.equal(after(ROWS), model(ROWS))


class Branch(nn.Module):
    """A convolution whose outputs go around its norm, too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y + self.norm(y)


def test_a_bias_comes_only_where_the_norm_stood_in_for_it() -> None:
    assert remove(Branch(), IMAGES)[0].conv.bias is None
    reused = nn.Conv2d(3, 3, 1, bias=False)
    model = nn.Sequential(reused, nn.BatchNorm2d(3), reused, nn.BatchNorm2d(3))
    assert remove(model, IMAGES)[0][0].bias is None
    frozen = images(nn.BatchNorm2d(8)).requires_grad_(False).float()
    bias = remove(frozen, IMAGES.float())[0][0].bias
    assert (bias.requires_grad, bias.dtype) == (False, torch.float32)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nw.BatchNormAct2d(3, activation="relu")

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x, x)


class MyNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / x.norm()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Sequential(nw.EvoNorm2dB0(3)), "it holds its own activation"),
        (Residual(), "it is called with more than one tensor"),
        (nn.Sequential(MyNorm()), "what MyNorm computes is not known"),
        (nn.Sequential(type("Sub", (nn.BatchNorm2d,), {})(3)), "a subclass may do more than its base"),
        (nn.Sequential(nn.ReLU()), "a model without any"),
    ],
)
def test_what_cannot_be_taken_out_is_told(model: nn.Module, reason: str) -> None:
    before = repr(model.double())
    with pytest.raises(ArgumentError, match=reason):
        remove(model, IMAGES, inplace=True)
    assert repr(model) == before


def test_only_those_that_are_asked_for_in_place() -> None:
    model: Any = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.LayerNorm(8))
    first = model[1]
    result, edits = remove(model, ROWS, where=nn.BatchNorm1d, inplace=True)
    assert result is model
    assert model[1] is first  # the object, its hooks and its place stay
    assert (type(first), type(model[3])) == (nn.Identity, nn.LayerNorm)
    assert len(edits) == 1
    with pytest.raises(ArgumentError, match="`where` must select a normalization"):
        remove(model, ROWS, where="0")


def test_a_model_that_needs_its_norm_is_told_and_left() -> None:
    class Needs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x) * self.norm.weight

    model = Needs()
    with pytest.raises(ArgumentError, match=r"must run without its norms in evaluation.*leave the norms"):
        remove(model, ROWS, inplace=True)
    assert type(model.norm) is nn.BatchNorm1d


@pytest.mark.parametrize("source", [None, nn.Sigmoid()])
def test_what_works_in_place_behind_a_norm_writes_into_a_copy(source: nn.Module | None) -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.source = source or nn.Identity()
            self.norm, self.act, self.conv = nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.source(x)
            return x + self.conv(self.act(self.norm(x)))

    model = Block()
    new, edits = remove(model, IMAGES)
    assert "a copy is made" in edits["norm"].why
    x = IMAGES.clone().requires_grad_()
    shortcut = model.source(x)
    torch.testing.assert_close(new(x), shortcut + model.conv(shortcut.relu()))
    assert torch.equal(x, IMAGES)
    new(x).sum().backward()
    assert "a copy" not in remove(images(nn.BatchNorm2d(8)), IMAGES)[1]["1"].why


def test_a_fused_norm_in_evaluation_leaves_parts_in_evaluation() -> None:
    fused = nw.BatchNormAct1d(8, activation="relu", dropout=0.5)
    new, _ = remove(nn.Sequential(nn.Linear(4, 8), fused, nn.Linear(8, 2)).eval(), ROWS)
    assert not any(module.training for module in new.modules())
    assert torch.equal(new(ROWS), new(ROWS))


@pytest.mark.parametrize(
    "norm", [nn.RMSNorm(8), nn.BatchNorm1d(8, affine=False), nn.LayerNorm(8, bias=False)]
)
def test_a_norm_without_a_bias_gives_none_back(norm: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(4, 8, bias=False), norm, nn.Linear(8, 2)).double()
    new, edits = remove(model, ROWS)
    assert new[0].bias is None
    assert "bias" not in edits["1"].why
    assert edits.notes == ()


def test_weights_that_are_normalized_are_no_norms_in_between() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 8))
    _, edits = remove(nn.Sequential(layer, nn.BatchNorm1d(8), nn.Linear(8, 2)), ROWS)
    assert [edit.name for edit in edits] == ["1"]
    inserted, _ = insert(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), "batch", ROWS)
    nn.utils.parametrizations.weight_norm(inserted[0])
    with pytest.raises(ArgumentError, match="the layer that holds it is parametrized"):
        remove(inserted, ROWS)


def test_norms_that_torchs_fast_path_reads_are_left_alone() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    model = nn.Sequential(nn.LayerNorm(4), layer)
    tokens = torch.randn(3, 5, 4, dtype=torch.float64)
    _, edits = remove(model.double(), tokens)
    assert [edit.name for edit in edits.changed] == ["0"]
    assert "fast path in `1` reads it in evaluation" in edits["1.norm1"].why
