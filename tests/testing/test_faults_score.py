"""The scorer: what counts as detected, named, placed, and as a false alarm."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from normwise.diagnose.subject import Subject
from normwise.results.diagnosis import Finding
from normwise.testing.faults import Case, faulty
from normwise.testing.faults.score import (
    Answer,
    Rate,
    alarms_by_code,
    answer,
    false_alarms,
    judge,
    rates,
    split_rates,
)

CASE = next(case for case in faulty() if case.name.startswith("bias-before-norm/mlp"))
LAYER = CASE.layers[0]


def _answer(*findings: tuple[str, str], folded: Sequence[tuple[str, str]] = (), error: str = "") -> Answer:
    return Answer(CASE.name, findings, tuple(folded), 1.0, error)


def test_a_right_answer() -> None:
    judged = judge(CASE, _answer(("NW101", LAYER)), _answer())
    assert (judged.detected, judged.named, judged.placed) == (True, True, True)


def test_nothing_found() -> None:
    judged = judge(CASE, _answer(), _answer())
    assert (judged.detected, judged.named, judged.placed) == (False, False, False)


def test_what_the_twin_has_as_well_is_no_detection() -> None:
    same = _answer(("NW507", ""))
    assert not judge(CASE, same, same).detected


def test_the_third_finding_is_too_late() -> None:
    judged = judge(CASE, _answer(("NW507", ""), ("NW505", "head"), ("NW101", LAYER)), _answer())
    assert (judged.detected, judged.named, judged.placed) == (True, False, False)


def test_what_is_folded_detects_and_does_not_name() -> None:
    judged = judge(CASE, _answer(("NW507", ""), folded=[("NW101", LAYER)]), _answer(("NW507", "")))
    assert (judged.detected, judged.named) == (True, False)


def test_a_right_name_at_a_wrong_place() -> None:
    judged = judge(CASE, _answer(("NW101", "head.output")), _answer())
    assert (judged.named, judged.placed) == (True, False)


def test_the_training_as_a_whole_has_no_place() -> None:
    case = next(case for case in faulty() if case.name.startswith("learning-rate-too-low/mlp"))
    assert judge(case, _answer(("NW507", "")), _answer()).placed is None


def test_rates_leave_out_what_has_no_place() -> None:
    right = judge(CASE, _answer(("NW101", LAYER)), _answer())
    wrong = judge(CASE, _answer(), _answer())
    found = rates([right, wrong])
    assert found == {"detected": Rate(1, 2), "named": Rate(1, 2), "placed": Rate(1, 2)}
    assert split_rates([right, wrong], "family") == {"structure": found}


def test_an_error_on_a_healthy_program_is_a_false_alarm() -> None:
    assert false_alarms([_answer(), _answer(error="ValueError: no"), _answer(("NW101", ""))]) == Rate(2, 3)


def test_codes_are_counted_once_a_program() -> None:
    assert alarms_by_code([_answer(("A", "0"), ("A", "1")), _answer(("B", ""), ("A", ""))]) == {
        "A": 2,
        "B": 1,
    }


def test_any_tool_can_be_asked() -> None:
    def tool(subject: Subject) -> Sequence[Finding]:
        below = Finding("NW102", "", "b", "", 0.5)
        return [Finding("NW101", "", subject.title[:4], "", 1.0, dependents=(below,))]

    given = answer(Case(CASE.program, CASE.fault), tool)
    assert given.findings == (("NW101", "bias"),)
    assert given.folded == (("NW102", "b"),)


def test_an_exception_of_a_tool_is_an_answer() -> None:
    def tool(subject: Subject) -> Sequence[Finding]:
        raise RuntimeError("broken")

    assert answer(CASE, tool).error == "RuntimeError: broken"


@pytest.mark.parametrize(
    ("hits", "of", "text"), [(0, 120, "0/120 = 0.0 % [0.0, 3.1]"), (1, 2, "1/2 = 50.0 % [9.5, 90.5]")]
)
def test_a_rate_has_an_interval(hits: int, of: int, text: str) -> None:
    assert str(Rate(hits, of)) == text
