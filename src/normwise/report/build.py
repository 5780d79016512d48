"""Comparison to document: what the report says and in which order."""

from __future__ import annotations

import json

from normwise.report.answer import answer
from normwise.report.document import Block, Code, Document, Figure, Paragraph, Section
from normwise.report.errata import errata
from normwise.report.figures_layers import gradient_flow, percentiles, probe_figure
from normwise.report.figures_outcome import cost, final_metric, gap
from normwise.report.figures_training import (
    fixed_curves,
    initialization_spread,
    learning_curves,
    rate_robustness,
)
from normwise.report.numbers import count, finite, learning_rate, listing, quantity, sentence
from normwise.report.palette import assign
from normwise.report.tables import claim_details, pairs, results, trials
from normwise.report.wording import claim_list, display, target_words
from normwise.results import Comparison, DataSummary, Setting


def build(comparison: Comparison) -> Document:
    """Build the document of a comparison: words, tables and figures as data, in reading order.

    Settings are never ranked together: each has an answer, a scorecard and a section of its own.

    Args:
        comparison: the record that `compare` returns.

    Returns:
        A frozen `Document`, which HTML, terminal and JSON render alike.
    """
    data = comparison.data
    slots = assign(comparison)
    anchors = [f"s{i + 1}" for i in range(len(comparison.settings))]
    sections = [
        _setting(setting, data, slots[setting.name], anchor)
        for setting, anchor in zip(comparison.settings, anchors, strict=True)
    ]
    if comparison.probe is not None:
        figure = probe_figure(comparison.probe, "probe-growth")
        sections.append(Section("probe", "Gradient growth: measured and exact", (figure,)))
    sections += [_trust(comparison), _errata(comparison), _reproduce(comparison)]
    return Document(
        title=f"normwise compare: {data.name}",
        question=comparison.question,
        data_line=_data_line(data),
        warnings=_warnings(comparison),
        answers=tuple(
            answer(setting, data, anchor)
            for setting, anchor in zip(comparison.settings, anchors, strict=True)
        ),
        sections=tuple(sections),
        footer=_footer(comparison),
    )


def _data_line(data: DataSummary) -> str:
    train, validation, test = data.split
    kind = f"{len(data.classes)} classes" if data.task == "classification" else f"regression of {data.target}"
    return (
        f"{data.name}: {count(data.rows, 'row')} ({train:,} train, {validation:,} validation, {test:,} "
        f"test), {data.inputs}, {kind}; metric: {data.metric}, "
        f"{'higher' if data.higher_is_better else 'lower'} is better"
    )


def _warnings(comparison: Comparison) -> tuple[str, ...]:
    warnings = []
    if comparison.partial:
        warnings.append(
            f"This is a partial result: {comparison.finished:,} of {comparison.planned:,} planned trials "
            "are in. The same command goes on where it stopped."
        )
    if comparison.failed:
        warnings.append(
            f"{count(comparison.failed, 'trial')} raised an error and "
            f"{'is' if comparison.failed == 1 else 'are'} missing from every number here; the table of "
            "trials says which."
        )
    return tuple(warnings)


def _footer(comparison: Comparison) -> str:
    reproduction = comparison.reproduction
    version = reproduction.versions.get("normwise", "")
    return (
        f"normwise {version}, {reproduction.created}, {count(comparison.finished, 'trial')} in "
        f"{quantity(reproduction.seconds, 's')}"
    )


def _setting(setting: Setting, data: DataSummary, slots: dict[str, int], anchor: str) -> Section:
    words = Section(
        f"{anchor}-claims",
        "Claim by claim",
        (
            claim_list(setting, data),
            Paragraph(
                "Each verdict compares a variant with the baseline, seed by seed, inside this network. "
                f"It allows for {count(setting.comparisons, 'comparison')} made at once, so that an "
                "interval may leave zero out and the verdict still be undecided. “Leaning” means fewer "
                "than ten pairs or too few of them won; “meaningful” ten or more and an error for the "
                "whole family of at most 5%.",
                "note",
            ),
            claim_details(setting),
        ),
    )
    training = Section(
        f"{anchor}-training",
        "While it trains",
        _drawn(
            learning_curves(setting, data, slots, anchor),
            fixed_curves(setting, data, slots, anchor),
            rate_robustness(setting, data, slots, anchor),
            initialization_spread(setting, data, slots, anchor),
        ),
    )
    inside = Section(
        f"{anchor}-inside",
        "Inside the network",
        _drawn(gradient_flow(setting, slots, anchor), percentiles(setting, slots, anchor)),
    )
    outcome = Section(
        f"{anchor}-outcome",
        "What comes out, and what it costs",
        (
            *_drawn(
                final_metric(setting, data, slots, anchor),
                gap(setting, data, slots, anchor),
                cost(setting, slots, anchor),
            ),
            results(setting, data),
        ),
    )
    grid = ", ".join(learning_rate(lr) for lr in setting.grid)
    lead = (
        f"{setting.network}. Batch size {setting.batch_size}, {setting.optimizer}, "
        f"{count(setting.steps, 'step')}. Learning rates {grid}, chosen on validation with "
        f"{count(len(setting.scan_seeds), 'seed')}; then {count(len(setting.seeds), 'fresh seed')}. "
        f"Baseline: {setting.baseline}. {_target(setting, data)}"
    )
    notes = tuple(Paragraph(sentence(note), "note") for note in setting.notes)
    return Section(
        anchor, display(setting.name), (Paragraph(lead), *notes), (words, training, inside, outcome)
    )


def _target(setting: Setting, data: DataSummary) -> str:
    if setting.target is None:
        return sentence(f"No target for speed was fixed: {setting.target_reason or 'nothing was measured'}")
    return sentence(f"Target for speed: {target_words(setting, data)}, {setting.target_reason}")


def _drawn(*figures: Figure) -> tuple[Block, ...]:
    """Keep figures that show something; say of the others that nothing was measured."""
    return tuple(
        figure
        if any(
            finite(series.y) for panel in figure.panels for series in panel.series if series.mark != "theory"
        )
        else Paragraph(f"{figure.title}: not measured.", "note")
        for figure in figures
    )


def _trust(comparison: Comparison) -> Section:
    data = comparison.data
    margin = quantity(data.margin, "pp" if data.metric_unit == "%" else data.metric_unit)
    blocks: list[Block] = [
        Paragraph(
            f"{data.name} ({data.source}): {data.inputs}; target {data.target}. Task: {data.task}, "
            f"{data.task_reason.rstrip('.')}. Every seed draws its own split into {data.split[0]:,} "
            f"train, {data.split[1]:,} validation and {data.split[2]:,} test rows."
        )
    ]
    if data.task == "classification" and data.classes:
        names = list(data.classes[:20])
        more = len(data.classes) - len(names)
        blocks.append(
            Paragraph(f"Classes: {listing(names) if not more else ', '.join(names) + f' and {more} more'}.")
        )
    blocks += [Paragraph(sentence(note)) for note in data.notes]
    blocks += [
        Paragraph(
            f"“No difference” in test {data.metric} is said only where the whole interval lies within ± "
            f"{margin}. {sentence(data.margin_note)}"
        ),
        Paragraph(
            "Intervals are paired t intervals at 95%. They cover the seeds and splits of this data, not "
            "new data: another data set may answer differently. Effects count in favor of the variant; "
            "learning rates are chosen on validation, and the test part has no say in any choice."
        ),
        Paragraph(
            "A run that missed the target is kept as “longer than measured”, never dropped. A run that "
            "diverged is a result: it counts in the share of diverged runs, whose interval is Wilson's, "
            "and paired differences read it as the network before training."
        ),
    ]
    return Section("trust", "Data and trust", tuple(blocks))


def _errata(comparison: Comparison) -> Section:
    lead = Paragraph(
        "Sentences that popular articles repeat and that are wrong or not the whole truth, what is "
        "right, and, where this comparison touches it, the measurement."
    )
    return Section("errata", "Errata to popular articles", (lead, errata(comparison)))


def _reproduce(comparison: Comparison) -> Section:
    reproduction = comparison.reproduction
    seeds = "; ".join(
        f"{setting.name}: scan {', '.join(map(str, setting.scan_seeds)) or 'none'}, fresh "
        f"{', '.join(map(str, setting.seeds)) or 'none'}"
        for setting in comparison.settings
    )
    spec = json.dumps(reproduction.spec, indent=2, ensure_ascii=False, default=str)
    return Section(
        "reproduce",
        "Reproduce",
        (
            Code("Command", reproduction.command),
            Paragraph(f"Run directory: {reproduction.directory}. Seeds: {seeds}."),
            pairs("Versions", reproduction.versions, ("package", "version")),
            pairs("Machine", reproduction.machine, ("part", "value")),
            Code("Resolved spec", spec, collapsed=True),
            trials(comparison),
        ),
    )
