"""Scores or probabilities where the loss takes logarithms of probabilities."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.rule import Found, Rule
from normwise.results.diagnosis import Evidence


def _check(facts: Facts) -> Iterator[Found]:
    scoring = facts.scoring
    if scoring is None or scoring.mass is None or abs(scoring.mass - 1) <= 0.01:
        return
    yield Found(
        "",
        "the loss is nll_loss, which takes logarithms of probabilities; what it gets are none: their exponentials add "
        f"up to {scoring.mass:.3g}",
        0.97 if not facts.subject.made_up else 0.6,
        (Evidence("sum over classes of exp(output)", scoring.mass, "1"),),
        remedy="return log_softmax, or give the scores to cross_entropy",
        code_lines=("loss = F.cross_entropy(model(x), y)",),
    )


RULE = Rule(
    code="NW115",
    name="nll-without-log-softmax",
    summary="Scores or probabilities where nll_loss takes logarithms of probabilities.",
    why=(
        "nll_loss is minus the output of the right class. Without log_softmax nothing holds the outputs together: the "
        "loss falls for ever as all scores grow, or stops at -1 with probabilities whose gradient fades."
    ),
    bad="loss = F.nll_loss(model(x), y)",
    good="loss = F.nll_loss(F.log_softmax(model(x), dim=1), y)",
    check=_check,
    needs=frozenset({"batch"}),
    explains=frozenset({"NW502", "NW506", "NW507", "NW509", "NW510", "NW512"}),
    source="torch.nn.NLLLoss",
)
