"""The head of one setting: its sentence, scorecard, two small figures, what to do, and what would decide the rest."""

from __future__ import annotations

from collections.abc import Mapping

from normwise.report.clauses import GAINS
from normwise.report.document import Advice, Answer, More, Tab
from normwise.report.figure import Panel, Reference, Series
from normwise.report.headline import choice, headline, tab_words
from normwise.report.names import display, full_name, start
from normwise.report.numbers import count, finite, learning_rate, listing, sentence, with_unit
from normwise.report.palette import shown
from normwise.report.phrases import PHRASES
from normwise.report.references import aside
from normwise.report.scorecard import scorecard
from normwise.results import Claim, Comparison, DataSummary, MoreSeeds, Setting, VariantResult

_BANDS = 3
"""With more curves than this, bands in a small figure only hide each other."""

_DECIDES = 4


def answer(comparison: Comparison, setting: Setting, slots: Mapping[str, int], anchor: str) -> Answer:
    """Return the head of one setting.

    Args:
        comparison: the comparison, its metric named as people write it.
        setting: one of its settings.
        slots: the signs of the variants that figures show.
        anchor: what the ids of this setting begin with.
    """
    data, seen = comparison.data, comparison.exploratory
    curves = _curves(setting, data, slots)
    return Answer(
        anchor=anchor,
        setting=setting.name,
        name=display(setting.name),
        tab=tab_words(setting, exploratory=seen),
        network=f"{setting.network}; batch size {setting.batch_size}, {setting.optimizer}, "
        f"{count(setting.steps, 'step')}, {count(len(setting.seeds), 'fresh seed')}",
        sentence=headline(setting, data, exploratory=seen),
        aside=aside(comparison),
        scorecard=scorecard(setting, data, slots),
        curves=curves,
        rates=_rates(setting, data, slots, alone=curves is None),
        advice=_advice(setting, exploratory=seen),
        more=_more(comparison, setting),
    )


def _first(setting: Setting) -> list[VariantResult]:
    """Return the variants that are drawn, the one that the answer is about last, so that it lies on top."""
    chosen = choice(setting)
    return sorted(shown(setting), key=lambda variant: variant.name == chosen)


def _curves(setting: Setting, data: DataSummary, slots: Mapping[str, int]) -> Panel | None:
    variants = _first(setting)
    bands = len(variants) <= _BANDS
    series = tuple(
        Series(
            v.name,
            slots[v.name],
            "line",
            tuple(float(step) for step in v.validation_curve.steps),
            v.validation_curve.median,
            v.validation_curve.low if bands else (),
            v.validation_curve.high if bands else (),
        )
        for v in variants
    )
    if not any(finite(entry.y) for entry in series):
        return None
    target = () if setting.target is None else (Reference(setting.target, "target"),)
    title = with_unit(f"Validation {data.metric} over steps", data.metric_unit)
    return Panel(title, "step", "", series, x_scale="log", references=target, size="mini")


def _rates(setting: Setting, data: DataSummary, slots: Mapping[str, int], *, alone: bool) -> Panel | None:
    series = tuple(
        Series(
            v.name,
            slots[v.name],
            "line",
            tuple(point.lr for point in v.scan),
            tuple(point.median for point in v.scan),
        )
        for v in _first(setting)
    )
    if not any(finite(entry.y) for entry in series):
        return None
    what = f"Validation {data.metric}" if alone else "The same"
    title = with_unit(f"{what} over learning rates", data.metric_unit)
    drawn = {x for entry in series for x, y in zip(entry.x, entry.y, strict=True) if finite([y])}
    ended = any(p.median is None and p.diverged and p.lr in drawn for v in _first(setting) for p in v.scan)
    label = "learning rate (diverged where a line ends)" if ended else "learning rate"
    return Panel(title, label, "", series, x_scale="log", size="mini")


def _advice(setting: Setting, *, exploratory: bool) -> Advice | None:
    advice = setting.recommendation
    if advice is None:
        return None
    name = full_name(advice.variant)
    keep = advice.variant == setting.baseline
    what = f"Keep {name}" if keep and not exploratory else start(name)
    why = "" if exploratory else sentence(advice.reason)
    text = f"{what}, learning rate {learning_rate(advice.lr)} ({setting.optimizer}). {why}".strip()
    tabs = tuple(Tab(part.framework, part.text.strip("\n"), sentence(part.note)) for part in advice.snippets)
    return Advice("To try it" if exploratory else "Do this", text, tabs)


def _more(comparison: Comparison, setting: Setting) -> More | None:
    more = comparison.more_seeds
    undecided = [claim for claim in setting.claims if claim.verdict == "undecided" and claim.claim in GAINS]
    if comparison.exploratory:
        if more is None:
            return None
        return More("What comes next", f"To have it judged, run {count(more.seeds, 'seed')}:", more.command)
    if not undecided:
        return None
    named = [] if more is None else _decided(comparison, more, undecided)
    if more is None or (not named and len(comparison.settings) > 1):
        return None if comparison.partial else More("What is undecided", _beyond(undecided), "")
    kept, rest = named[:_DECIDES], len(named) - _DECIDES
    if rest > 0:
        kept.append(f"{rest} more")
    what = listing(kept) if kept else "what is undecided"
    text = (
        f"{start(count(more.seeds, 'seed'))} would decide {what}, if the effects are as large as they look:"
    )
    return More("What is undecided", text, more.command)


def _decided(comparison: Comparison, more: MoreSeeds, undecided: list[Claim]) -> list[str]:
    """Return what the seeds would decide; of several settings only what they would decide in this one."""
    entries = list(more.decides)
    if len(comparison.settings) > 1:
        here = {
            f"{claim.claim}: {claim.variant}"
            for claim in undecided
            if claim.seeds_needed is not None and claim.seeds_needed <= more.seeds
        }
        entries = [entry for entry in entries if entry in here]
    return [_entry(*entry.partition(": ")[::2]) for entry in entries]


def _beyond(undecided: list[Claim]) -> str:
    """Say how far away the nearest decision is, where it is too far for a command."""
    needs = [
        (claim.claim == "larger_learning_rates", claim.seeds_needed, claim)
        for claim in undecided
        if claim.seeds_needed is not None
    ]
    if not needs:
        return "More seeds would not decide what is undecided here."
    scanned, seeds, claim = min(needs, key=lambda need: need[:2])
    fewest = count(seeds, "scan seed" if scanned else "seed")
    what = _entry(claim.claim, claim.variant)
    return (
        f"About {fewest} would be needed to decide anything: {what}, if the effect is as large as it looks."
    )


def _entry(claim: str, variant: str) -> str:
    """Turn "faster" and "batch" into "batch (faster)"."""
    label = next((phrase.label for name, phrase in PHRASES.items() if name == claim), claim)
    return f"{variant} ({label[0].lower()}{label[1:]})" if variant else claim
