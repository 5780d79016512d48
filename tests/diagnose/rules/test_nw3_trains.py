"""What does not train, in ways that no attribute of a model shows: the layer is named, the twin gives nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

import normwise as nw
from normwise.results.diagnosis import Finding


def rows(count: int = 320) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 6, generator=generator)
    return x, (x[:, 0] + x[:, 1] > 0).long()


class Through(nn.Module):
    """Two layers, and what stands between them."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.between = nn.Linear(6, 16), nn.Linear(16, 2), between

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.between(self.body(x)))
        return out


class Recurrent(nn.Module):
    def __init__(self, trains: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.head, self.trains = nn.GRU(6, 16, batch_first=True), nn.Linear(16, 2), trains

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.trains and torch.is_grad_enabled()):
            state = self.cell(x[:, None])[0][:, -1]
        out: Tensor = self.head(state)
        return out


def found(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> list[Finding]:
    optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=1e-2)
    diagnosis = nw.diagnose(model, optimizer=optimizer, data=rows(), steps=30, select=["NW304"])
    return list(diagnosis.findings)


@pytest.mark.parametrize(
    ("between", "words"),
    [
        (lambda z: torch.from_numpy(z.detach().numpy()).relu(), "get no gradient"),
        (lambda z: (4 * z).round().relu(), "exactly zero throughout"),
        (lambda z: z.sign() * 0 + z.detach().relu() + 0 * z, "exactly zero throughout"),
    ],
)
def test_what_cuts_a_network_is_named_by_the_layer_before(
    between: Callable[[Tensor], Tensor], words: str
) -> None:
    (finding,) = found(Through(between))
    assert finding.layer == "body"
    assert words in finding.message
    assert found(Through(F.relu)) == []


def test_a_recurrent_layer_under_no_grad_is_named() -> None:
    (finding,) = found(Recurrent(trains=False))
    assert finding.layer == "cell"
    assert found(Recurrent(trains=True)) == []


def test_a_loss_without_slope_stops_every_layer() -> None:
    model = Through(F.relu)

    def errors(output: Tensor, targets: Tensor) -> Tensor:
        return (output.argmax(1) != targets).float().mean() + 0 * output.sum()

    diagnosis = nw.diagnose(model, loss=errors, data=rows(), steps=30, select=["NW304"])
    (finding,) = diagnosis.findings
    assert {finding.layer, *finding.also} == {"body", "head"}


def test_groups_that_stand_still_and_biases_alone_are_named() -> None:
    model = Through(F.relu)
    groups = [{"params": model.body.parameters(), "lr": 0.0}, {"params": model.head.parameters()}]
    (finding,) = found(model, torch.optim.Adam(groups, lr=1e-2))
    assert finding.layer == "body"
    biases = [p for p in model.parameters() if p.dim() < 2]
    (finding,) = found(model, torch.optim.SGD(biases, lr=0.1))
    assert "the weights of 0 of 2 layers" in finding.message
    warmed = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.optim.lr_scheduler.LambdaLR(warmed, lambda step: min(1.0, step / 10))
    assert found(model, warmed) == []
