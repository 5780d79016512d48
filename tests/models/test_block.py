"""A block's order of operations, children and residual."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from normwise.errors import UnknownNameError
from normwise.models import Block


def parts() -> tuple[nn.Module, nn.Module, nn.Module]:
    torch.manual_seed(0)
    norm = nn.LayerNorm(5)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return nn.Linear(5, 5), norm, nn.Tanh()


@pytest.mark.parametrize(
    "shortcut", [None, nn.Identity(), nn.Linear(5, 5)], ids=["none", "identity", "linear"]
)
def test_output_follows_the_formula(shortcut: nn.Module | None) -> None:
    weighted, norm, act = parts()
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    added = 0 if shortcut is None else shortcut(x)
    before = Block(weighted, norm, act, position="before", shortcut=shortcut)
    torch.testing.assert_close(before(x), act(norm(weighted(x)) + added))
    after = Block(weighted, norm, act, position="after", shortcut=shortcut)
    torch.testing.assert_close(after(x), norm(act(weighted(x) + added)))
    plain = Block(weighted, None, act, shortcut=shortcut)
    torch.testing.assert_close(plain(x), act(weighted(x) + added))


@pytest.mark.parametrize(
    ("position", "order"),
    [
        ("before", ["weighted", "norm", "activation", "dropout"]),
        ("after", ["weighted", "activation", "norm", "dropout"]),
    ],
)
def test_children_are_in_the_order_in_which_they_run(position: str, order: list[str]) -> None:
    block = Block(*parts(), nn.Dropout(0.5), position=position, shortcut=nn.Identity())
    assert [name for name, _ in block.named_children()] == [*order, "shortcut"]
    ran: list[str] = []
    for name, child in block.named_children():
        child.register_forward_hook(lambda m, i, o, name=name: ran.append(name))
    block(torch.randn(2, 5))
    assert [name for name in ran if name != "shortcut"] == order


def test_dropout_comes_last_and_only_in_training() -> None:
    block = Block(nn.Linear(5, 50), None, nn.Sigmoid(), nn.Dropout(0.5))
    x = torch.randn(20, 5)
    assert (block(x) == 0).any()
    block.eval()
    assert (block(x) > 0).all()


def test_absent_parts_are_none_and_a_wrong_position_is_explained() -> None:
    block = Block(nn.Linear(5, 5), None, nn.ReLU())
    assert block.norm is None
    assert block.dropout is None
    assert block.shortcut is None
    with pytest.raises(UnknownNameError, match=r"unknown position 'befor'\. Did you mean 'before'"):
        Block(nn.Linear(5, 5), None, nn.ReLU(), position="befor")
