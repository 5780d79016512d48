"""Models that are no networks, beside the networks: whether a network is worth it at all."""

from __future__ import annotations

import math
from collections.abc import Iterable

from normwise.report.document import Block, Paragraph, Table
from normwise.report.names import display, full_name, start
from normwise.report.numbers import MISSING, finite, listing, median, number, quantity, sentence, with_unit
from normwise.results import Comparison, ReferenceResult, Setting, VariantResult

TRIVIAL = ("majority class", "mean")
"""References that look at no input."""

_ARTICLES = {"linear": "a linear model", "majority class": "the majority class", "mean": "the mean"}
_WON = 0.8
"""The share of seeds in which a reference must be ahead to be called clearly ahead."""


def called(reference: ReferenceResult) -> str:
    """Return a reference's name inside a sentence."""
    return _ARTICLES.get(reference.name, reference.name)


def aside(comparison: Comparison) -> str:
    """Say so where the best reference is clearly ahead of the best network; "" otherwise.

    Clearly: by more than the margin in the median, and ahead in four of five of the seeds that both have.
    """
    found = _best(comparison)
    if found is None:
        return ""
    reference, network, name = found
    data = comparison.data
    sign = 1 if data.higher_is_better else -1
    ours, theirs = _tests(network), dict(zip(reference.seeds, reference.values, strict=False))
    pairs = [
        sign * (other - mine)
        for seed, mine in ours.items()
        if mine is not None and (other := theirs.get(seed)) is not None
    ]
    here, there = median(ours.values()), reference.median
    if here is None or there is None or sign * (there - here) <= data.margin:
        return ""
    if pairs and sum(pair > 0 for pair in pairs) < _WON * len(pairs):
        return ""
    unit = data.metric_unit
    numbers = f"test {data.metric} {quantity(there, unit)} against {quantity(here, unit)} ({name})"
    if comparison.exploratory:
        return f"Beside the networks: {called(reference)} and the best network, {numbers}."
    return f"{start(called(reference))} does better than every network here: {numbers}."


def _best(comparison: Comparison) -> tuple[ReferenceResult, VariantResult, str] | None:
    sign = 1 if comparison.data.higher_is_better else -1
    known = [reference for reference in comparison.references if _value(reference) is not None]
    networks = [
        (middle, setting, variant)
        for setting, variant in _networks(comparison)
        if (middle := median(_tests(variant).values())) is not None
    ]
    if not known or not networks:
        return None
    reference = max(known, key=lambda r: sign * (_value(r) or 0.0))
    _, setting, network = max(networks, key=lambda entry: sign * entry[0])
    where = f", {display(setting.name)}" if len(comparison.settings) > 1 else ""
    return reference, network, f"{full_name(network.name)}{where}"


def _value(reference: ReferenceResult) -> float | None:
    return reference.median if reference.median is not None and math.isfinite(reference.median) else None


def _networks(comparison: Comparison) -> Iterable[tuple[Setting, VariantResult]]:
    # Fewer training rows would make a network worse than a reference that was given all of them.
    for setting in comparison.settings:
        if setting.train_share == 1.0:
            for variant in setting.variants:
                yield setting, variant


def _tests(variant: VariantResult) -> dict[int, float | None]:
    return {end.seed: end.test for end in variant.final}


def beside(comparison: Comparison) -> str:
    """Return one sentence with the median of every reference; "" without any.

    "Beside the networks, test accuracy: a linear model gets 97.1%, gradient boosting 96.4%."
    """
    unit = comparison.data.metric_unit
    parts = [
        f"{called(reference)}{' gets' if i == 0 else ''} {quantity(reference.median, unit)}"
        for i, reference in enumerate(r for r in comparison.references if _value(r) is not None)
    ]
    if not parts:
        return ""
    return f"On the same splits, test {comparison.data.metric}: {listing(parts)}."


def blocks(comparison: Comparison) -> tuple[Block, ...]:
    """Return the references in words and as a table."""
    if not comparison.references:
        return ()
    data = comparison.data
    rows = tuple(
        (
            reference.name,
            quantity(reference.median, data.metric_unit),
            _spread(finite(reference.values), data.metric_unit),
            f"{len(finite(reference.values))} of {len(reference.values)}",
            number(reference.seconds, 2),
            ". ".join(part.rstrip(".") for part in (reference.description, reference.note) if part),
        )
        for reference in comparison.references
    )
    table = Table(
        "Models that are no networks, trained once on the splits of the networks' seeds.",
        (
            "model",
            with_unit(f"test {data.metric}", data.metric_unit),
            "lowest to highest",
            "seeds",
            "seconds to fit",
            "what it is",
        ),
        rows,
        (False, True, True, True, True, False),
    )
    words = " ".join(part for part in (sentence(beside(comparison)), aside(comparison)) if part)
    return (*((Paragraph(words),) if words else ()), table)


def _spread(values: list[float], unit: str) -> str:
    return f"{quantity(min(values), unit)} to {quantity(max(values), unit)}" if values else MISSING
