"""Statistics of a single value."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from normwise.diagnose.facts import Facts, NormState
from normwise.diagnose.remedies import leave_out
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Evidence, Finding


def _check(facts: Facts) -> Iterator[Found]:
    hits = [state for state in facts.norms if _values(state) == 1]
    if not hits:
        return
    name = hits[0].name
    left = "a sign" if hits[0].kind == "rms" else "zero"
    yield Found(
        name,
        f"`{name}` normalizes each value by itself, so that {left} is left of it",
        1.0,
        (Evidence("values of a statistic", 1.0, "2 or more"),),
        remedy="leave the norm away, or normalize over more: LayerNorm of several features, larger batches",
        code_lines=tuple(f"model.set_submodule({state.name!r}, nn.Identity())" for state in hits),
        applicability="changes training",
        also=tuple(state.name for state in hits[1:]),
    )


def _values(state: NormState) -> int | None:
    """What a statistic is taken over; of a layer norm that was not called, by its shape."""
    shape: Any = getattr(state.module, "normalized_shape", None)
    if state.values is None and shape is not None:
        return int(math.prod(shape))
    return state.values


def _fix(setup: Setup, finding: Finding) -> Setup:
    return leave_out(setup, finding.layer, *finding.also)


RULE = Rule(
    code="NW106",
    name="norm-over-one-value",
    summary="A norm whose statistics are of one value each.",
    why=(
        "The mean of one value is the value, and its variance is zero: (x − mean) / √(0 + eps) is zero whatever comes "
        "in, only the norm's bias goes on, and no gradient comes back. Without the mean, as in RMS normalization, the "
        "sign remains."
    ),
    bad="nn.Sequential(nn.Flatten(), nn.GroupNorm(64, 64))  # or nn.LayerNorm(1)",
    good="nn.Sequential(nn.Flatten(), nn.LayerNorm(64))",
    check=_check,
    explains=frozenset({"NW102", "NW105", "NW501", "NW503", "NW507", "NW509"}),
    fix=_fix,
    source="(x − x) / √(0 + eps) = 0; torch raises for Batch and Instance Normalization in training",
)
