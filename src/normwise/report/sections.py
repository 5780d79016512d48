"""The sections of the report: data and trust, speed, robustness, final metric, gaps, why, reproduce."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from normwise.report.document import Block, Code, Paragraph, Section
from normwise.report.figure import Figure
from normwise.report.figures_layers import activation_spread, gradient_flow, percentiles, probe_figure
from normwise.report.figures_outcome import cost, final_metric, gap
from normwise.report.figures_study import across, penalties
from normwise.report.figures_training import (
    fixed_curves,
    initialization_spread,
    learning_curves,
    rate_robustness,
)
from normwise.report.names import display
from normwise.report.numbers import count, finite, learning_rate, listing, quantity, sentence
from normwise.report.references import blocks as references
from normwise.report.tables import claim_details, initializations, pairs, results, trials
from normwise.report.wording import claim_list, target_words
from normwise.results import ClaimName, Comparison, DataSummary, Setting


@dataclass(frozen=True)
class Ground:
    """One setting with the signs of its variants and what its ids begin with."""

    setting: Setting
    slots: dict[str, int]
    anchor: str


Part = Callable[[Ground], tuple[Block, ...]]


def sections(comparison: Comparison, grounds: tuple[Ground, ...]) -> tuple[Section, ...]:
    """Return all sections but the errata and how to reproduce, in reading order."""
    data = comparison.data

    def speed(g: Ground) -> tuple[Block, ...]:
        return (
            *_claims(g, data, "faster", "cost"),
            *_drawn(
                learning_curves(g.setting, data, g.slots, g.anchor),
                fixed_curves(g.setting, data, g.slots, g.anchor),
                cost(g.setting, g.slots, g.anchor),
            ),
        )

    def robustness(g: Ground) -> tuple[Block, ...]:
        spread = initializations(g.setting, data)
        # One initialization has no spread; its values stand under the final metric.
        lone = all(len(variant.initializations) == 1 for variant in g.setting.variants)
        return (
            *_claims(g, data, "larger_learning_rates", "initialization"),
            *_drawn(rate_robustness(g.setting, data, g.slots, g.anchor)),
            *(() if lone else _drawn(initialization_spread(g.setting, data, g.slots, g.anchor))),
            *((spread,) if spread is not None else ()),
        )

    def final(g: Ground) -> tuple[Block, ...]:
        figure = final_metric(g.setting, data, g.slots, g.anchor, comparison.references)
        return (*_claims(g, data, "generalizes"), *_drawn(figure), results(g.setting, data))

    def gaps(g: Ground) -> tuple[Block, ...]:
        strengths = penalties(g.setting, data, g.anchor)
        return (
            *_claims(g, data, "regularizes"),
            *_drawn(gap(g.setting, data, g.slots, g.anchor)),
            *((strengths,) if strengths is not None else ()),
        )

    def why(g: Ground) -> tuple[Block, ...]:
        return (
            *_claims(g, data, "gradients"),
            *_drawn(
                gradient_flow(g.setting, g.slots, g.anchor),
                percentiles(g.setting, g.slots, g.anchor),
                activation_spread(g.setting, g.slots, g.anchor),
            ),
        )

    over = across(comparison, {g.setting.name: g.slots for g in grounds})
    probe = () if comparison.probe is None else (probe_figure(comparison.probe, "probe-growth"),)
    return (
        _trust(comparison, grounds),
        _section("speed", "Speed", grounds, speed),
        _section("robustness", "Robustness", grounds, robustness),
        _section("final", f"Final test {data.metric}", grounds, final, lead=(*over, *references(comparison))),
        _section("gaps", "Gaps and regularizers", grounds, gaps),
        _section("why", "Why: gradients, activations, layers", grounds, why, tail=probe, folded=True),
    )


def _section(
    anchor: str,
    title: str,
    grounds: tuple[Ground, ...],
    part: Part,
    *,
    lead: tuple[Block, ...] = (),
    tail: tuple[Block, ...] = (),
    folded: bool = False,
) -> Section:
    """One setting stands in the section itself; several have a part each, and none is ranked against another."""
    if len(grounds) == 1:
        return Section(anchor, title, (*lead, *part(grounds[0]), *tail), folded=folded)
    parts = tuple(Section(f"{anchor}-{g.anchor}", display(g.setting.name), part(g)) for g in grounds)
    if tail:
        parts = (*parts, Section(f"{anchor}-probe", "A wide, deep network against exact theory", tail))
    if not parts and not lead:
        lead = (Paragraph("Not measured.", "note"),)
    return Section(anchor, title, lead, parts, folded)


def _claims(ground: Ground, data: DataSummary, *names: ClaimName) -> tuple[Block, ...]:
    """Return what is said of some claims, and the statistics behind it where there are verdicts."""
    words = claim_list(ground.setting, data, names)
    if not words.groups:
        return ()
    if all(line.verdict == "seen" for group in words.groups for line in group.lines):
        return (words,)
    return (words, claim_details(ground.setting, names))


def _drawn(*figures: Figure) -> tuple[Block, ...]:
    """Keep figures that show something; say of the others that nothing was measured."""
    return tuple(
        figure
        if any(
            finite(series.y)
            for panel in figure.panels
            for series in panel.series
            if series.mark not in ("theory", "link")
        )
        else Paragraph(f"{figure.title}: not measured.", "note")
        for figure in figures
    )


_SPLITS = {
    "none": "Every seed draws its own split into",
    "test": "Every seed draws its own training and validation part, and the test part is always the same:",
    "all": "Every seed has the same split into",
}
_COVERED = {
    "none": "the seeds and splits",
    "test": "the seeds and the splits outside of the test part",
    "all": "the seeds on the one split",
}


def _trust(comparison: Comparison, grounds: tuple[Ground, ...]) -> Section:
    data = comparison.data
    margin = quantity(data.margin, "pp" if data.metric_unit == "%" else data.metric_unit)
    train, validation, test = data.split
    blocks: list[Block] = [Paragraph(sentence(warning), "warning") for warning in data.warnings]
    blocks.append(
        Paragraph(
            f"{data.name} ({data.source}): {data.inputs}; target {data.target}. Task: {data.task}, "
            f"{data.task_reason.rstrip('.')}. {_SPLITS[data.fixed_parts]} {train:,} train, "
            f"{validation:,} validation and {test:,} test rows."
        )
    )
    if data.task == "classification" and data.classes:
        names = list(data.classes[:20])
        more = len(data.classes) - len(names)
        blocks.append(
            Paragraph(f"Classes: {listing(names) if not more else ', '.join(names) + f' and {more} more'}.")
        )
    blocks += [Paragraph(sentence(note)) for note in data.notes]
    for ground in grounds:
        blocks.append(Paragraph(_training(ground.setting, data)))
        blocks += [Paragraph(sentence(note), "note") for note in ground.setting.notes]
    if not comparison.exploratory:
        blocks.append(
            Paragraph(
                f"“No difference” in test {data.metric} is said only where the whole interval lies within ± "
                f"{margin}. {sentence(data.margin_note)}".strip()
            )
        )
        blocks += [Paragraph(_verdicts(ground.setting)) for ground in grounds[:1]]
    blocks += [
        Paragraph(
            f"Intervals are paired t intervals at 95%. They cover {_COVERED[data.fixed_parts]} of this data, not "
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


def _verdicts(setting: Setting) -> str:
    family = (
        f"It allows for {setting.comparisons:,} comparisons made at once, so that an interval may leave zero out and "
        "the verdict still be undecided. "
        if setting.comparisons > 1
        else ""
    )
    return (
        f"Each verdict compares a variant with the baseline, seed by seed, inside one network. {family}"
        "“Leaning” means fewer than ten pairs or too few of them won; "
        "“meaningful” ten or more and an error for the whole family of at most 5%."
    )


def _training(setting: Setting, data: DataSummary) -> str:
    grid = ", ".join(learning_rate(lr) for lr in setting.grid)
    share = "" if setting.train_share == 1.0 else f" {100 * setting.train_share:g}% of the training rows."
    if setting.target is None:
        target = f"No target for speed was fixed: {setting.target_reason or 'nothing was measured'}"
    else:
        target = f"Target for speed: {target_words(setting, data)}, {setting.target_reason}"
    return (
        f"{display(setting.name)}: {setting.network}. Batch size {setting.batch_size}, {setting.optimizer}, "
        f"{count(setting.steps, 'step')}.{share} Learning rates {grid}, chosen on validation with "
        f"{count(len(setting.scan_seeds), 'seed')}; then {count(len(setting.seeds), 'fresh seed')}. "
        f"Baseline: {setting.baseline}. {sentence(target)}"
    )


def reproduce(comparison: Comparison) -> Section:
    """Return what somebody else needs to get the same numbers."""
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
            Paragraph(f"Run directory: {reproduction.directory}. Seeds: {seeds or 'none'}."),
            pairs("Versions", reproduction.versions, ("package", "version")),
            pairs("Machine", reproduction.machine, ("part", "value")),
            Code("Resolved spec", spec, collapsed=True),
            trials(comparison),
        ),
    )
