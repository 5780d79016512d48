"""What is left out of a question so that it fits the time there is: initializations, then variants, then steps.

Never seeds, of which fewer than five decide nothing. What was asked for by name stays, unless the budget was asked for
by name as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from normwise.compare.check import FEWEST_VARIANTS, Prepared
from normwise.compare.forecast import Timings
from normwise.compare.variant import Variant

FEWEST_STEPS = 60


@dataclass(frozen=True)
class Fitted:
    """A question within its budget, as far as that was possible.

    Attributes:
        prepared: what is left of it.
        seconds: what it takes.
        shed: what was left out, a sentence each.
        budget: seconds, or None where there is no limit.
    """

    prepared: Prepared
    seconds: float
    shed: tuple[str, ...]
    budget: float | None

    @property
    def fits(self) -> bool:
        """Whether it keeps within the budget."""
        return self.budget is None or self.seconds <= self.budget


def fit(prepared: Prepared, timings: Timings, budget: float | None, *, strict: bool) -> Fitted:
    """Leave out what does not fit.

    Args:
        prepared: the whole question.
        timings: how long its parts take.
        budget: seconds; None leaves everything as it is.
        strict: whether the budget was asked for by name and so goes before what else was.
    """
    seconds = timings.seconds(prepared)
    if budget is None or seconds <= budget:
        return Fitted(prepared, seconds, (), budget)
    asked = set() if strict else set(prepared.asked.model_fields_set)
    shed: list[str] = []
    for narrower, what in () if "initializations" in asked else _fewer_initializations(prepared):
        prepared, seconds = narrower, timings.seconds(narrower)
        shed.append(what)
        if seconds <= budget:
            return Fitted(prepared, seconds, _told(shed), budget)
    if "variants" not in asked:
        for narrower, what in _fewer_variants(prepared):
            prepared, seconds = narrower, timings.seconds(narrower)
            shed.append(what)
            if seconds <= budget:
                return Fitted(prepared, seconds, _told(shed), budget)
    if not asked & {"steps", "epochs"}:
        before = [plan.ground.steps for plan in prepared.plans]
        prepared = _fewer_steps(prepared, timings, budget)
        after = [plan.ground.steps for plan in prepared.plans]
        seconds = timings.seconds(prepared)
        if after != before:
            shed.append(f"steps {max(after):,} instead of {max(before):,}")
    return Fitted(prepared, seconds, _told(shed), budget)


def _fewer_initializations(prepared: Prepared) -> Iterator[tuple[Prepared, str]]:
    while len(prepared.spec.initializations) > 1:
        *kept, last = prepared.spec.initializations
        prepared = prepared.narrowed(prepared.spec.model_copy(update={"initializations": tuple(kept)}))
        yield prepared, f"initialization {last.name}"


def _fewer_variants(prepared: Prepared) -> Iterator[tuple[Prepared, str]]:
    """One variant less at a time, never the baseline: in the study's order, or from the last of a person's own."""
    own = "variants" in prepared.asked.model_fields_set
    names = list(_variants(prepared))
    order = list(reversed(names)) if own else [name for name in prepared.study.shed_first if name in names]
    baselines = {plan.baseline for plan in prepared.plans}
    for name in order:
        variants = _variants(prepared)
        if name in baselines or len(variants) <= FEWEST_VARIANTS:
            continue
        left = tuple(variant for other, variant in variants.items() if other != name)
        if any(
            len([v for v in plan.variants if v.name != name]) < min(FEWEST_VARIANTS, len(plan.variants))
            for plan in prepared.plans
        ):
            continue
        prepared = prepared.narrowed(prepared.spec.model_copy(update={"variants": left}))
        yield prepared, f"variant {name}"


def _variants(prepared: Prepared) -> dict[str, Variant]:
    """All variants by name, in the order of the setting that has the most."""
    plans = sorted(prepared.plans, key=lambda plan: -len(plan.variants))
    return {variant.name: variant for plan in plans for variant in plan.variants}


def _fewer_steps(prepared: Prepared, timings: Timings, budget: float) -> Prepared:
    """As many steps as fit: time grows in proportion to them."""
    longest = max(plan.ground.steps for plan in prepared.plans)
    if longest <= FEWEST_STEPS:
        return prepared
    shortest = _with_steps(prepared, FEWEST_STEPS)
    low, high = timings.seconds(shortest), timings.seconds(prepared)
    share = min(1.0, max(0.0, (budget - low) / max(high - low, 1e-9)))
    steps = FEWEST_STEPS + int(share * (longest - FEWEST_STEPS))
    return _with_steps(prepared, steps // 10 * 10)


def _with_steps(prepared: Prepared, steps: int) -> Prepared:
    return prepared.narrowed(prepared.spec.model_copy(update={"steps": steps, "epochs": None}))


def _told(shed: list[str]) -> tuple[str, ...]:
    """What went, in as few sentences as there are kinds of it."""
    kinds: dict[str, list[str]] = {}
    for what in shed:
        kind, _, name = what.partition(" ")
        kinds.setdefault(kind, []).append(name)
    return tuple(
        f"{kind if len(names) == 1 else kind + 's'} {'; '.join(names)}"
        if kind != "steps"
        else f"{names[-1].replace(' instead of ', ' steps instead of ')}"
        for kind, names in kinds.items()
    )
