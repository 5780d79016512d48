"""Steps that hardly move anything."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.outcome import begins_slowly, learned_little, loss_figure, progress, typical_update
from normwise.diagnose.remedies import change_rate
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Evidence, Finding

_SMALL = 2e-4
"""‖Δw‖ / ‖w‖ of one step; near TheDeepChecker's lower bound of 1e-4."""

_TINY = _SMALL / 4
"""Too small though four times the steps get somewhere."""


def _check(facts: Facts) -> Iterator[Found]:
    run, setup = facts.run, facts.subject.setup
    if run is None or setup is None or run.diverged is not None or not learned_little(run):
        return
    update = typical_update(run)
    if update is None or not 0 < update < _SMALL or (update > _TINY and begins_slowly(facts)):
        return
    higher = setup.optimizer.lr * (10 if update > _SMALL / 10 else 100)
    yield Found(
        "",
        f"a learning rate of {setup.optimizer.lr:g} changes weights by {100 * update:.2g} % a step; after "
        f"{run.steps} steps {100 * max(progress(run), 0):.0f} % of the loss is gone",
        0.85,
        (Evidence("change of a weight in one step", 100 * update, "0.02 to 10", "%"),),
        (loss_figure(run),),
        remedy=f"a higher learning rate, such as {higher:.2g}",
        code_lines=(f"optimizer = torch.optim.{setup.optimizer.name}(model.parameters(), lr={higher:.2g})",),
        applicability="changes training",
    )


def _fix(setup: Setup, finding: Finding) -> Setup:
    change = next((each.value for each in finding.evidence if each.unit == "%"), None) or 0.0
    factor = 10 if change > 100 * _SMALL / 10 else 100
    return change_rate(setup, factor)


RULE = Rule(
    code="NW507",
    name="learning-rate-too-low",
    summary="Steps change the weights by so little that nothing is learned in the time.",
    why="A training goes as far as its steps carry it: at a thousandth of the right rate it needs a thousand times "
    "the steps.",
    bad="torch.optim.SGD(model.parameters(), lr=1e-6)",
    good="torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)",
    check=_check,
    needs=frozenset({"run"}),
    explains=frozenset({"NW509"}),
    fix=_fix,
    source="TheDeepChecker (Ben Braiek & Khomh 2023): log₁₀ of the update ratio within [−4, −1]",
)
