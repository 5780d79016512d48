"""nw.diagnose: what is asked follows from what is given, and the model is as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

import normwise as nw
from normwise.diagnose.api import chosen
from normwise.diagnose.rank import ranked
from normwise.errors import ArgumentError, UnknownNameError
from normwise.results import dumps, loads
from normwise.results.diagnosis import Diagnosis, Finding

ROWS, CLASSES = torch.randn(16, 4, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 2


def faulty() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def statuses(diagnosis: Diagnosis) -> set[str]:
    return {check.status for check in diagnosis.checks}


def test_what_is_given_decides_what_is_asked() -> None:
    alone = nw.diagnose(faulty())
    assert alone.measured == ("structure",)
    assert all(vital.answer == "not measured" for vital in alone.vitals)
    shaped = nw.diagnose(faulty(), shape=(4,))
    assert shaped.measured == ("structure", "initialization")
    assert "no data: the input is random, and so are the targets" in shaped.notes
    batch = nw.diagnose(faulty(), (ROWS, CLASSES))
    assert batch.measured == ("structure", "initialization", "batch")
    assert batch.notes == ()
    asked = [sum(check.status != "not checked" for check in each.checks) for each in (alone, shaped, batch)]
    assert asked == sorted(asked)
    assert asked[0] < asked[1]
    reasons = {check.code: check.why for check in alone.checks}
    assert "--shape" in reasons["NW101"]
    assert "a short training (--data, data=)" in reasons["NW506"]


@pytest.mark.parametrize("batch", [(ROWS, CLASSES), [ROWS, CLASSES.float()[:, None]], ROWS])
def test_forms_of_a_batch(batch: object) -> None:
    model = faulty() if not isinstance(batch, list) else nn.Sequential(*list(faulty())[:3], nn.Linear(8, 1))
    assert [finding.code for finding in nw.diagnose(model, batch).findings] == ["NW101"]


def test_a_loss_of_ones_own() -> None:
    seen: list[torch.Size] = []

    def loss(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(output.shape)
        return F.cross_entropy(output, targets)

    nw.diagnose(faulty(), (ROWS, CLASSES), loss)
    assert set(seen) == {(16, 2)}


def test_nothing_of_the_model_changes() -> None:
    model = faulty().eval()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    nw.diagnose(model, (ROWS, CLASSES), optimizer=optimizer)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert optimizer.state_dict()["state"] == {}


def test_rules_are_chosen_by_code_name_or_prefix() -> None:
    codes = [rule.code for rule in chosen(["NW1"], [])]
    assert codes
    assert all(code.startswith("NW1") for code in codes)
    assert [rule.code for rule in chosen(["bias-before-norm"], [])] == ["NW101"]
    assert "NW101" not in [rule.code for rule in chosen(["nw1"], ["NW101"])]
    assert nw.diagnose(faulty(), shape=(4,), ignore=["NW101"]).findings == ()
    with pytest.raises(
        UnknownNameError, match=r"unknown rule 'bias-before-nom'\. Did you mean 'bias-before-norm'"
    ):
        nw.diagnose(faulty(), shape=(4,), select=["bias-before-nom"])
    with pytest.raises(UnknownNameError, match="NW999"):
        nw.diagnose(faulty(), shape=(4,), ignore=["NW999"])


@pytest.mark.parametrize("batch", ["a word", (ROWS, CLASSES, CLASSES), {"x": ROWS}])
def test_what_is_no_batch_is_told(batch: object) -> None:
    with pytest.raises(ArgumentError, match=r"`batch` must be \(inputs, targets\)"):
        nw.diagnose(faulty(), batch)


def test_a_record_goes_to_json_and_back() -> None:
    diagnosis = nw.diagnose(faulty(), (ROWS, CLASSES))
    assert loads(dumps(diagnosis), Diagnosis) == diagnosis


def finding(code: str, confidence: float, layer: str = "") -> Finding:
    return Finding(code, code.lower(), layer, "", confidence)


def test_what_follows_is_folded_under_the_surest_cause() -> None:
    explains = {"A": frozenset("CD"), "B": frozenset("C"), "C": frozenset("D")}
    found = [finding("D", 0.9), finding("C", 0.8), finding("B", 0.7), finding("A", 0.6), finding("E", 0.1)]
    roots = ranked(found, explains)
    assert [root.code for root in roots] == ["B", "A", "E"]
    assert [child.code for child in roots[0].dependents] == ["C"]
    assert [child.code for child in roots[0].dependents[0].dependents] == ["D"]


def test_causes_that_explain_each_other_do_not_vanish() -> None:
    roots = ranked([finding("A", 0.5), finding("B", 0.6)], {"A": frozenset("B"), "B": frozenset("A")})
    assert [root.code for root in roots] == ["B"]
    assert [child.code for child in roots[0].dependents] == ["A"]
