"""Statistics of so few values that they are noise."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.outcome import falls_short
from normwise.diagnose.remedies import convert_norm
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Evidence, Finding

_FEW, _VERY_FEW = 16, 8
"""Values of a statistic; more than the second are named only where the training falls short."""

_ACROSS = ("batch", "sync", "ghost", "batch_renorm")


def _check(facts: Facts) -> Iterator[Found]:
    run, setup = facts.run, facts.subject.setup
    if run is None or setup is None:
        return
    few_enough = _FEW if falls_short(run) else _VERY_FEW
    few = [
        (state.name, state.values)
        for state in run.norms or facts.norms
        if state.kind in _ACROSS and state.values is not None and 1 < state.values <= few_enough
    ]
    if not few:
        return
    name, values = min(few, key=lambda each: each[1])
    yield Found(
        name,
        f"each statistic of `{name}` is taken over {values} values in a batch of {setup.batch_size}",
        0.9 if values <= _VERY_FEW else 0.7,
        (Evidence("values of a statistic", float(values), f"above {_FEW}"),),
        remedy="use Group or Layer Normalization, which do not look at the batch, or larger batches; accumulating "
        "gradients does not help",
        code_lines=("model, edits = nw.convert(model, 'batch', 'group', example=x)",),
        also=tuple(other for other, _ in few if other != name),
        applicability="changes training",
    )


def _fix(setup: Setup, finding: Finding) -> Setup:
    return convert_norm(setup, "batch", "group", [finding.layer, *finding.also])


RULE = Rule(
    code="NW404",
    name="batch-too-small",
    summary="Batch Normalization over a handful of values.",
    why=(
        "Mean and variance of n values are off by about 1/√n and 1/√(2n) of themselves. In training that noise moves "
        "all activations; in evaluation running statistics take its place, and the network meets something else."
    ),
    bad="loader = DataLoader(data, batch_size=4)  # before nn.BatchNorm1d",
    good="nn.GroupNorm(8, 64)  # or batch_size=64",
    check=_check,
    needs=frozenset({"run"}),
    explains=frozenset({"NW303", "NW508", "NW509"}),
    fix=_fix,
    source="Wu & He 2018, Group Normalization, figure 1; Ioffe 2017, Batch Renormalization",
)
