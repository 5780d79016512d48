"""Inputs far from zero mean and unit spread, or in very different units."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from normwise.diagnose.facts import DataFacts, Facts
from normwise.diagnose.remedies import standardise_inputs
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.structure import THE_INPUT, flow
from normwise.results.diagnosis import Evidence, Series

_APART = 30.0
"""A column whose spread is so many times the median's is in another unit."""

_ROWS = 16
"""Fewer say little of a spread."""

_LARGE, _SMALL, _OFF = 10.0, 0.01, 30.0


def _check(facts: Facts) -> Iterator[Found]:
    data = facts.data
    if data is None or data.rows < _ROWS:
        return
    if _normalized_first(facts):
        return
    varying = [i for i in range(len(data.scales)) if i not in data.constant]
    if not varying:
        return
    typical = statistics.median(data.scales[i] for i in varying)
    apart = [i for i in varying if data.scales[i] > _APART * typical]
    # What hardly varies beside the others, as the margin of pictures, is near zero in their measure.
    off = [i for i in varying if abs(data.means[i]) > _OFF * max(data.scales[i], typical / 10)]
    if (typical > _LARGE or typical < _SMALL) and not _scale_is_taken_out(facts):
        said = f"the inputs have a standard deviation of {typical:.3g}"
        yield _found(data, said, "typical spread", typical, "0.01 to 10")
    elif apart:
        worst = max(apart, key=lambda i: data.scales[i])
        verb = "varies" if len(apart) == 1 else "vary"
        said = f"{_columns(apart)} {verb} {data.scales[worst] / typical:.3g} times as much as the others"
        yield _found(data, said, "largest spread, in medians", data.scales[worst] / typical, "at most 30")
    elif off:
        worst = max(off, key=lambda i: abs(data.means[i]) / data.scales[i])
        far = abs(data.means[worst]) / data.scales[worst]
        said = f"the mean of {_columns(off)} is {far:.3g} standard deviations from zero"
        yield _found(data, said, "largest mean, in σ", far, "at most 30")


def _normalized_first(facts: Facts) -> bool:
    """Whether the model normalizes its inputs by itself."""
    found = flow(facts)
    if found is None:
        return False
    readers = [step for step in found.steps if THE_INPUT in step.sources]
    return bool(readers) and all(step.kind == "norm" for step in readers)


def _scale_is_taken_out(facts: Facts) -> bool:
    """Whether the first layers are normalized right behind: outputs and gradients then do not depend on the scale."""
    found = flow(facts)
    if found is None:
        return False
    readers = [step for step in found.steps if THE_INPUT in step.sources]
    norms = [found.after(step, ("reshape",))[1] for step in readers if step.kind == "linear"]
    return len(norms) == len(readers) > 0 and all(
        norm is not None and norm.kind == "norm" and norm.module is not None and norm.module.training
        for norm in norms
    )


def _found(data: DataFacts, said: str, name: str, value: float, expected: str) -> Found:
    labels = tuple(str(i) for i in range(min(60, len(data.scales))))
    return Found(
        "",
        said,
        0.95,
        (Evidence(name, value, expected),),
        (Series("standard deviation of each input", "features", labels, data.scales[:60], log=True),),
        remedy="standardise the inputs with mean and standard deviation of the training part",
        code_lines=(
            "mean, std = x_train.mean(0), x_train.std(0).clamp_min(1e-8)",
            "x = (x - mean) / std  # the same for validation and test",
        ),
        applicability="changes training",
    )


def _columns(which: list[int]) -> str:
    names = ", ".join(str(i) for i in which[:5]) + (f" and {len(which) - 5} more" if len(which) > 5 else "")
    return f"column {names}" if len(which) == 1 else f"columns {names}"


RULE = Rule(
    code="NW401",
    name="unscaled-features",
    summary="Inputs that are not standardised, or of which some are in another unit.",
    why=(
        "The gradient of a weight is proportional to its input. Where inputs differ by orders of magnitude no "
        "learning rate fits all weights: it diverges for the large ones, or stands still for the small ones."
    ),
    bad="x = table[['age', 'income_in_cents']]",
    good="x = (x - x_train.mean(0)) / x_train.std(0)",
    check=_check,
    needs=frozenset({"inputs"}),
    explains=frozenset({"NW502", "NW503", "NW504", "NW505", "NW506", "NW507", "NW508", "NW509", "NW512"}),
    fix=lambda setup, finding: standardise_inputs(setup),
    source="LeCun et al. 1998, Efficient BackProp, section 4.3",
)
