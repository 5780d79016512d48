"""Rules of data: what harms is named, and what only looks odd is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

import normwise as nw
from normwise.results.diagnosis import Finding


def table(columns: int = 12, count: int = 320) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, columns, generator=generator)
    return x, (x[:, 0] + x[:, 1] > 0).long()


def network(columns: int = 12) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(columns, 16), nn.ReLU(), nn.Linear(16, 2))


def found(code: str, x: Tensor, y: Tensor, model: nn.Module | None = None) -> list[Finding]:
    model = model or network(x.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    diagnosis = nw.diagnose(model, optimizer=optimizer, data=(x, y), steps=30, select=[code])
    return list(diagnosis.findings)


def sevens(x: Tensor) -> Tensor:
    x[:, 3:5] = 7.0
    return x


def zeros(x: Tensor) -> Tensor:
    x[:, 3:5] = 0.0
    return x


def picture(x: Tensor) -> Tensor:
    """Normalized after it was drawn on black paper: many a value is that of the margin."""
    x = x.clamp_min(0)
    x[:, 3:5] = 0.0
    return (x - 0.4) / 0.6


def mostly_zeros(x: Tensor) -> Tensor:
    x[:, 2:] = 0.0
    return x


@pytest.mark.parametrize(
    ("change", "named"), [(sevens, True), (zeros, False), (picture, False), (mostly_zeros, True)]
)
def test_constant_columns_that_do_something(change: Callable[[Tensor], Tensor], named: bool) -> None:
    x, y = table()
    assert bool(found("NW402", change(x), y)) == named


def test_a_margin_that_hardly_varies_is_not_far_from_zero() -> None:
    x, y = table()
    x[:, 5] = -0.9 + 0.004 * x[:, 5]
    assert found("NW401", x, y) == []
    x[:, 5] = 2000 + x[:, 5]
    (finding,) = found("NW401", x, y)
    assert "the mean of column 5 is" in finding.message


def test_a_norm_right_behind_the_first_layer_takes_the_scale_out() -> None:
    x, y = table()
    normed = nn.Sequential(nn.Linear(12, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    assert len(found("NW401", 1000 * x, y)) == 1
    assert found("NW401", 1000 * x, y, normed) == []
    assert len(found("NW401", 1000 * x, y, normed.eval())) == 1


def test_labels_of_pixels_are_never_evenly_spread() -> None:
    x = torch.randn(64, 1, 8, 8)
    y = (x[:, 0] > 2.0).long()
    assert found("NW403", x, y, nn.Conv2d(1, 2, 3, padding=1)) == []


@pytest.mark.parametrize("coded", [lambda y: 2 * y - 1, lambda y: y + 1])
def test_targets_that_a_binary_cross_entropy_does_not_take(coded: Callable[[Tensor], Tensor]) -> None:
    x, y = table()
    for function in (F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss()):

        def loss(output: Tensor, targets: Tensor, function: Callable[..., Tensor] = function) -> Tensor:
            return function(output[:, 0], target=targets)

        (finding,) = nw.diagnose(network(), (x[:64], coded(y[:64]).float()), loss, select=["NW408"]).findings
        assert finding.code == "NW408"
        assert nw.diagnose(network(), (x[:64], y[:64].float()), loss, select=["NW408"]).findings == ()
