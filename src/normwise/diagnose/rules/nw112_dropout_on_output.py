"""Dropout behind the last layer."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.remedies import change_dropout
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.structure import flow


def _check(facts: Facts) -> Iterator[Found]:
    found = flow(facts)
    if found is None or len(found.outputs) != 1:
        return
    last = found.steps[found.outputs[0]]
    dropout = last
    if last.kind in ("reshape", "move"):
        _, before = found.before(last, ("reshape", "move"))
        dropout = before or last
    if dropout.kind != "dropout":
        return
    named = dropout.module is not None
    yield Found(
        dropout.name,
        "dropout sets outputs of the model to zero: scores and predictions, not features",
        0.95,
        remedy="no dropout behind the last layer",
        code_lines=(f"model.{dropout.name}.p = 0.0",) if named else (),
        applicability="changes training" if named else "advice",
    )


RULE = Rule(
    code="NW112",
    name="dropout-on-output",
    summary="Dropout behind the last layer.",
    why=(
        "What is dropped there is the answer itself. Its zeros are errors that no weight can take away, and the others "
        "are 1/(1 − p) times too large."
    ),
    bad="nn.Sequential(body, nn.Linear(64, 10), nn.Dropout(0.5))",
    good="nn.Sequential(body, nn.Dropout(0.5), nn.Linear(64, 10))",
    check=_check,
    needs=frozenset({"graph"}),
    explains=frozenset({"NW507", "NW509", "NW511"}),
    fix=lambda setup, finding: change_dropout(setup, 0.0, finding.layer),
    source="Srivastava et al. 2014, which drops inputs and hidden units",
)
