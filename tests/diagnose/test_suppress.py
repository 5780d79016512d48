"""Findings that may stay: gone from the list, told in notes and checks, never silently."""

from __future__ import annotations

from normwise.diagnose.suppress import Suppression, suppressed
from normwise.results.diagnosis import Check, Diagnosis, Finding

LINES = ("drop the bias of a.0", "drop the bias of b.0", "drop the bias of b.1")
BIAS = Finding(
    "NW101", "bias-before-norm", "a.0", "the bias of a.0 is lost", 1.0, code_lines=LINES, also=("b.0", "b.1")
)
PLATEAU = Finding("NW509", "plateau", "", "the loss stands still", 0.5)
RATE = Finding("NW507", "learning-rate-too-low", "", "steps are small", 0.9, dependents=(PLATEAU,))
CHECKS = (
    Check("NW101", "bias-before-norm", "found"),
    Check("NW103", "dropout-before-batch-norm", "clear"),
    Check("NW507", "learning-rate-too-low", "found"),
    Check("NW509", "plateau", "found"),
    Check("NW510", "overfitting", "not checked", "needs a short training (--data)"),
)
DIAGNOSIS = Diagnosis("net", ("structure",), (), (BIAS, RATE), CHECKS, notes=("as it was",))


def status(diagnosis: Diagnosis) -> dict[str, tuple[str, str]]:
    return {check.code: (check.status, check.why) for check in diagnosis.checks}


def test_a_whole_finding_goes_and_its_check_has_the_reason() -> None:
    after = suppressed(DIAGNOSIS, [Suppression("NW101", "*", "pretrained")])
    assert [finding.code for finding in after.findings] == ["NW507"]
    assert status(after)["NW101"] == ("suppressed", "pretrained")
    assert status(after)["NW507"] == ("found", "")
    assert after.notes == ("as it was", "suppressed: NW101 at a.0, b.0, b.1 (pretrained)")


def test_other_layers_of_a_finding_are_left_with_their_lines() -> None:
    after = suppressed(DIAGNOSIS, [Suppression("bias-before-norm", "b.*", "frozen")])
    left = after.findings[0]
    assert (left.layer, left.also, left.code_lines, left.message) == ("a.0", (), LINES[:1], BIAS.message)
    assert status(after)["NW101"] == ("found", "")
    assert after.notes[-1] == "suppressed: NW101 at b.0, b.1 (frozen)"
    left = suppressed(DIAGNOSIS, [Suppression("NW101", "a.*", "frozen")]).findings[0]
    assert (left.layer, left.also, left.code_lines) == ("b.0", ("b.1",), LINES[1:])
    assert left.message == "the bias of a.0 is lost (suppressed there)"


def test_what_follows_from_a_suppressed_finding_stands_for_itself() -> None:
    after = suppressed(DIAGNOSIS, [Suppression("NW507", "*", "by intent")])
    assert [finding.code for finding in after.findings] == ["NW101", "NW509"]
    assert status(after)["NW509"][0] == "found"
    after = suppressed(DIAGNOSIS, [Suppression("NW509", "*", "a first run")])
    assert after.findings[1].dependents == ()
    assert status(after)["NW509"] == ("suppressed", "a first run")


def test_one_that_matches_nothing_is_told_where_its_rule_was_asked() -> None:
    rules = [Suppression(code, "c.*", "old") for code in ("NW101", "NW103", "NW510", "NW999")]
    after = suppressed(DIAGNOSIS, rules)
    assert after.findings == DIAGNOSIS.findings
    assert after.checks == CHECKS
    assert after.notes[1:] == (
        "the suppression of NW101 at 'c.*' matches nothing: take it out",
        "the suppression of NW103 at 'c.*' matches nothing: take it out",
    )


def test_without_suppressions_nothing_changes() -> None:
    assert suppressed(DIAGNOSIS, []) == DIAGNOSIS
