"""The claims of a setting at a glance: variants down, claims across, the baseline's own numbers on top."""

from __future__ import annotations

from collections.abc import Mapping

from normwise.report.document import Cell, Scorecard, ScoreColumn, ScoreRow
from normwise.report.names import full_name
from normwise.report.numbers import bare, count, learning_rate, quantity
from normwise.report.phrases import PHRASES, Phrase
from normwise.report.wording import GLYPHS, say, target_words, tone
from normwise.results import Claim, ClaimName, DataSummary, Setting

_KEY = "✓ yes  ✗ no  ? undecided  = no difference  – not measured"


def scorecard(setting: Setting, data: DataSummary, slots: Mapping[str, int]) -> Scorecard:
    """Return the claims of a setting at a glance, the recommended variant first; no rows without any claim.

    Args:
        setting: the setting.
        data: the data that the claims speak of.
        slots: the signs of the variants that figures show.
    """
    found = {(claim.claim, claim.variant): claim for claim in setting.claims}
    names = [variant.name for variant in setting.variants if variant.name != setting.baseline]
    seen = any(claim.verdict == "exploratory" for claim in setting.claims)
    recommended = None if seen or setting.recommendation is None else setting.recommendation.variant
    # Where there are many rows, the one that the answer is about must not be out of sight.
    names.sort(key=lambda name: name != recommended)
    kept = {
        name: phrase for name, phrase in PHRASES.items() if any((name, variant) in found for variant in names)
    }
    rows = tuple(
        ScoreRow(
            name,
            full_name(name),
            slots.get(name),
            name == recommended,
            tuple(_cell(found.get((claim, name)), setting, data) for claim in kept),
        )
        for name in names
        if kept
    )
    columns = tuple(
        _column(phrase, [found[name, v] for v in names if (name, v) in found], setting, data, seen)
        for name, phrase in kept.items()
    )
    values = tuple(
        _own(
            name,
            next((c for c in setting.claims if c.claim == name and c.baseline_value is not None), None),
            data,
        )
        for name in kept
    )
    against = f"Against {full_name(setting.baseline)}"
    key = f"~ seen in {count(len(setting.seeds), 'seed')}; nothing is judged" if seen else _KEY
    return Scorecard(
        setting.baseline, slots.get(setting.baseline), values, columns, rows, f"{against}:  {key}"
    )


def _column(
    phrase: Phrase, claims: list[Claim], setting: Setting, data: DataSummary, seen: bool
) -> ScoreColumn:
    unit = next((claim.effect.unit for claim in claims if claim.effect.unit), "")
    question = "" if seen else phrase.question.format(t=target_words(setting, data))
    # A ratio's sign stands behind every number; a target's own unit is said on the axes.
    shown = "" if unit in ("x", "target") or unit.startswith("units of ") else unit
    return ScoreColumn(phrase.neutral if seen else phrase.label, phrase.column, shown, question)


def _own(name: ClaimName, claim: Claim | None, data: DataSummary) -> str:
    """Return the baseline's side of a claim."""
    if claim is None:
        return ""
    value = claim.baseline_value
    if name == "larger_learning_rates":
        return learning_rate(value, 2)
    if name == "faster":
        return quantity(value, "steps")
    if name == "cost":
        return quantity(value, "ms")
    return quantity(value, data.metric_unit) if name == "generalizes" else bare(value, claim.effect.unit)


def _cell(claim: Claim | None, setting: Setting, data: DataSummary) -> Cell:
    if claim is None:
        return Cell(GLYPHS["not measured"], "not measured", "", "none", "")
    word = "seen" if claim.verdict == "exploratory" else claim.verdict
    return Cell(GLYPHS[claim.verdict], word, _short(claim), tone(claim), say(claim, setting, data))


def _short(claim: Claim) -> str:
    if claim.effect.value is None or claim.verdict == "not measured":
        return ""
    estimate = claim.effect
    if estimate.unit == "x":
        text = quantity(estimate.value, "x")
    else:
        signed = quantity(estimate.value, estimate.unit, signed=not estimate.bound)
        text = signed.split(" ")[0]
    return {"at least": "≥ ", "at most": "≤ "}.get(estimate.bound, "") + text
