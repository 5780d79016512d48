"""Models that are no networks, beside the networks: whether a network is worth it at all."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from normwise.report.document import Block, Paragraph, Table
from normwise.report.names import display, full_name, start
from normwise.report.numbers import MISSING, finite, listing, number, quantity, sentence, with_unit
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
    """Say so where a reference is clearly ahead of the best network, or the best network of no trivial one; else "".

    Clearly: by more than the margin on average, and in four of five of the seeds that both have.
    """
    network = _best_network(comparison)
    known = [reference for reference in comparison.references if finite(reference.values)]
    if network is None or not known:
        return ""
    sign = 1 if comparison.data.higher_is_better else -1
    best = max(known, key=lambda reference: sign * _mean(reference))
    if _clearly(best, network, comparison, sign):
        ahead = f"{start(called(best))} does better than every network here"
        return _told(ahead, best, network, comparison, networks_first=False)
    trivial = max(
        (reference for reference in known if reference.name in TRIVIAL),
        key=lambda reference: sign * _mean(reference),
        default=None,
    )
    if trivial is None or _clearly(trivial, network, comparison, -sign):
        return ""
    behind = f"No network here is shown to do better than {called(trivial)}"
    return _told(behind, trivial, network, comparison, networks_first=True)


@dataclass(frozen=True)
class _Network:
    """The best network: its test metric on average, as its claims tell it, and by seed."""

    name: str
    mean: float
    tests: dict[int, float | None]


def _told(
    words: str, reference: ReferenceResult, network: _Network, comparison: Comparison, *, networks_first: bool
) -> str:
    data = comparison.data
    here = f"{quantity(network.mean, data.metric_unit)} ({network.name})"
    there = quantity(_mean(reference), data.metric_unit)
    if comparison.exploratory:
        name = called(reference)
        return f"Beside the networks: {name} and the best network, mean test {data.metric} {there} against {here}."
    both = f"{here} against {there}" if networks_first else f"{there} against {here}"
    return f"{words}: mean test {data.metric} {both}."


def _clearly(reference: ReferenceResult, network: _Network, comparison: Comparison, sign: int) -> bool:
    """Whether the reference is clearly ahead; with the other sign, whether the network is."""
    theirs = dict(zip(reference.seeds, reference.values, strict=False))
    pairs = [
        sign * (other - mine)
        for seed, mine in network.tests.items()
        if mine is not None and (other := theirs.get(seed)) is not None
    ]
    lead = sign * (_mean(reference) - network.mean)
    won = sum(pair > 0 for pair in pairs) >= _WON * len(pairs)
    return lead > comparison.data.margin and won


def _best_network(comparison: Comparison) -> _Network | None:
    sign = 1 if comparison.data.higher_is_better else -1
    networks = []
    # Fewer training rows would make a network worse than a reference that was given all of them.
    for setting in (setting for setting in comparison.settings if setting.train_share == 1.0):
        where = f", {display(setting.name)}" if len(comparison.settings) > 1 else ""
        for variant in setting.variants:
            tests = {end.seed: end.test for end in variant.final}
            if (mean := _network_mean(setting, variant, tests)) is not None:
                networks.append(_Network(f"{full_name(variant.name)}{where}", mean, tests))
    return max(networks, key=lambda network: sign * network.mean, default=None)


def _network_mean(
    setting: Setting, variant: VariantResult, tests: Mapping[int, float | None]
) -> float | None:
    """Return the mean that verdicts tell, in which a diverged run counts; that of the other runs without one."""
    for claim in (claim for claim in setting.claims if claim.claim == "generalizes"):
        told = claim.variant_value if claim.variant == variant.name else claim.baseline_value
        if told is not None and variant.name in (claim.variant, setting.baseline):
            return told
    kept = finite(tests.values())
    return statistics.fmean(kept) if kept else None


def _mean(reference: ReferenceResult) -> float:
    return statistics.fmean(finite(reference.values))


def beside(comparison: Comparison) -> str:
    """Return one sentence with the median of every reference; "" without any.

    "On the same splits, median test accuracy: a linear model gets 97.1% and gradient boosting 96.4%."
    """
    unit = comparison.data.metric_unit
    parts = [
        f"{called(reference)}{' gets' if i == 0 else ''} {quantity(reference.median, unit)}"
        for i, reference in enumerate(r for r in comparison.references if r.median is not None)
    ]
    if not parts:
        return ""
    return f"On the same splits, median test {comparison.data.metric}: {listing(parts)}."


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
            " ".join(sentence(part) for part in (reference.description, reference.note) if part),
        )
        for reference in comparison.references
    )
    table = Table(
        "Models that are no networks, trained once on the splits of the networks' seeds.",
        (
            "model",
            with_unit(f"median test {data.metric}", data.metric_unit),
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
