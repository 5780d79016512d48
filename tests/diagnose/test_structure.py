"""A forward pass as steps: what each does, who feeds whom, and what reaches the output."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from normwise import layers
from normwise.diagnose.facts import Facts
from normwise.diagnose.measure import measure
from normwise.diagnose.structure import THE_INPUT, Flow, flow, norms_of
from normwise.diagnose.subject import Subject

X = torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A little of everything, as modules and as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = (
            nn.Conv2d(4, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
        )
        self.positions = nn.Parameter(torch.zeros(4, 64))
        self.drop, self.idle, self.none = nn.Dropout(0.5), nn.Dropout(0.0), nn.Identity()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.norm(self.conv(x)))
        y += x
        y = (y.flatten(2) + self.positions).transpose(1, 2)
        y = F.dropout(y * y, 0.3, self.training).mean(dim=1)
        return F.softmax(self.head(self.none(self.idle(self.drop(y)))), dim=1)


def facts_of(model: nn.Module, inputs: Tensor) -> Facts:
    return measure(Subject(model, inputs=inputs))


def flow_of(model: nn.Module, inputs: Tensor) -> Flow:
    found = flow(facts_of(model, inputs))
    assert found is not None
    return found


def test_steps_are_layers_and_functions_with_what_they_do() -> None:
    kinds = [(step.name, step.kind) for step in flow_of(Net(), X).steps]
    assert kinds == [
        ("conv", "linear"),
        ("norm", "norm"),
        ("relu", "one-sided"),
        ("", "add"),
        ("", "reshape"),
        ("", "affine"),
        ("", "move"),
        ("", "other"),
        ("", "dropout"),
        ("", "mean"),
        ("drop", "dropout"),
        ("idle", "reshape"),
        ("none", "reshape"),
        ("head", "linear"),
        ("", "softmax"),
    ]


def test_what_works_in_place_is_read_by_what_comes_later() -> None:
    found = flow_of(Net(), X)
    norm, relu, added = found.steps[1:4]
    assert found.only_reader(norm) is relu
    assert added.sources == (relu.index, THE_INPUT)


def test_only_one_reader_is_the_only_reader() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.kept = nn.Linear(4, 4), nn.Linear(4, 4), None

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.first(x)
            return self.second(y), y

    found = flow_of(Fork(), torch.randn(6, 4))
    assert [found.only_reader(step) for step in found.steps] == [None, None]
    assert found.readers(found.steps[0]) == [found.steps[1]]


def test_going_on_and_back_stops_at_the_first_of_another_kind() -> None:
    found = flow_of(Net(), X)
    softmax = found.steps[-1]
    passed, source = found.before(softmax, ("linear", "reshape"))
    assert [step.name for step in passed] == ["head", "none", "idle"]
    assert source is not None
    assert source.name == "drop"
    passed, reader = found.after(source, ("linear", "reshape"))
    assert [step.name for step in passed] == ["idle", "none", "head"]
    assert reader is softmax


@pytest.mark.parametrize(
    ("through", "expected"), [(("linear", "reshape", "softmax"), True), (("linear",), False)]
)
def test_what_reaches_the_output(through: tuple[str, ...], expected: bool) -> None:
    found = flow_of(Net(), X)
    assert found.reach_output(found.steps[10], through) is expected


def test_norms_with_an_activation_are_none_that_a_rule_takes_for_linear() -> None:
    model = nn.Sequential(
        nn.Linear(4, 4), layers.BatchNormAct1d(4), nn.Linear(4, 4), layers.DynamicTanh(4), nn.LayerNorm(4)
    )
    facts = facts_of(model, torch.randn(8, 4))
    assert [norm.name for norm in norms_of(facts)] == ["4"]
    assert [norm.name for norm in norms_of(facts, "batch")] == []


def test_an_encoder_of_torch_is_seen_layer_by_layer() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    facts = facts_of(nn.TransformerEncoder(layer, 1), torch.randn(2, 3, 8))
    assert [norm.name for norm in norms_of(facts)] == ["layers.0.norm1", "layers.0.norm2"]


def test_a_model_that_cannot_be_run_has_no_flow() -> None:
    assert flow(measure(Subject(nn.Linear(3, 4)))) is None
