"""Outputs (N, 1) against targets (N,): every output is compared with every target."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.rule import Found, Rule


def _check(facts: Facts) -> Iterator[Found]:
    scoring = facts.scoring
    if scoring is None or not scoring.broadcast:
        return
    output, targets = (" × ".join(map(str, shape)) for shape in (scoring.output_shape, scoring.target_shape))
    yield Found(
        "",
        f"the loss broadcasts outputs of {output} against targets of {targets}: each sample is held against the "
        "targets of all others",
        0.98,
        remedy="give outputs and targets the same shape",
        code_lines=("loss = loss_function(model(x), y.reshape(len(x), -1))",),
    )


RULE = Rule(
    code="NW407",
    name="targets-broadcast",
    summary="Outputs and targets of different shapes, which the loss broadcasts against each other.",
    why=(
        "An (N, 1) and an (N,) become (N, N), whose mean is least where all outputs are the mean of the targets: the "
        "network learns a constant, and no error is raised."
    ),
    bad="loss = F.mse_loss(model(x), y)  # (64, 1) and (64,)",
    good="loss = F.mse_loss(model(x).squeeze(1), y)",
    check=_check,
    needs=frozenset({"batch"}),
    explains=frozenset({"NW507", "NW508", "NW509"}),
    source="torch's warning of mse_loss: a target size that is different to the input size",
)
