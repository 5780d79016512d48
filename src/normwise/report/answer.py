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
from normwise.results import Comparison, DataSummary, Setting, VariantResult

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
        curves=_curves(setting, data, slots),
        rates=_rates(setting, data, slots),
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


def _rates(setting: Setting, data: DataSummary, slots: Mapping[str, int]) -> Panel | None:
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
    title = with_unit("The same over learning rates", data.metric_unit)
    return Panel(title, "learning rate", "", series, x_scale="log", size="mini")


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
    if not undecided and not comparison.exploratory:
        return None
    if more is None:
        if comparison.exploratory or comparison.partial:
            return None
        return More("What is undecided", "More seeds would not decide what is undecided here.", "")
    seeds = count(more.seeds, "seed")
    if comparison.exploratory:
        return More("What comes next", f"To have it judged, run {seeds}:", more.command)
    named = [_decided(entry) for entry in more.decides]
    kept, rest = named[:_DECIDES], len(named) - _DECIDES
    if rest > 0:
        kept.append(f"{rest} more")
    what = listing(kept) if kept else "what is undecided"
    text = f"{start(seeds)} would decide {what}, if the effects are as large as they look:"
    return More("What is undecided", text, more.command)


def _decided(entry: str) -> str:
    """Turn "faster: batch" into "batch (faster)"."""
    claim, _, variant = entry.partition(": ")
    label = next((phrase.label for name, phrase in PHRASES.items() if name == claim), claim)
    return f"{variant} ({label[0].lower()}{label[1:]})" if variant else entry
