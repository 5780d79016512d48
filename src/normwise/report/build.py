"""Comparison to document: what the report says and in which order."""

from __future__ import annotations

from normwise.report.answer import answer
from normwise.report.document import Document, Notice, Paragraph, Section
from normwise.report.errata import errata
from normwise.report.names import readable
from normwise.report.numbers import count, quantity, sentence
from normwise.report.palette import assign
from normwise.report.sections import Ground, reproduce, sections
from normwise.results import Comparison, DataSummary


def build(comparison: Comparison) -> Document:
    """Build the document of a comparison: words, tables and figures as data, in reading order.

    Settings are never ranked together: each has an answer, a scorecard and parts of its own.

    Args:
        comparison: the record that `compare` returns; a partial one gives a document with gaps that are named.

    Returns:
        A frozen `Document`, which every renderer reads.
    """
    comparison = readable(comparison)
    slots = assign(comparison)
    grounds = tuple(
        Ground(setting, slots[setting.name], f"s{i + 1}") for i, setting in enumerate(comparison.settings)
    )
    return Document(
        title=f"normwise compare: {comparison.data.name}",
        question=comparison.question,
        data_line=_data_line(comparison.data),
        higher=comparison.data.higher_is_better,
        notices=_notices(comparison),
        answers=tuple(answer(comparison, g.setting, g.slots, g.anchor) for g in grounds),
        sections=(*sections(comparison, grounds), _errata(comparison), reproduce(comparison)),
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


def _notices(comparison: Comparison) -> tuple[Notice, ...]:
    """What may make numbers wrong comes first, what was merely left out last."""
    notices = [Notice("Data", sentence(warning), "bad") for warning in comparison.data.warnings]
    if comparison.partial:
        notices.append(
            Notice(
                "Partial",
                f"{comparison.finished:,} of {comparison.planned:,} planned trials are in. The same command "
                "goes on where it stopped.",
                "bad",
            )
        )
    if comparison.failed:
        notices.append(
            Notice(
                "Errors",
                f"{count(comparison.failed, 'trial')} raised an error and "
                f"{'is' if comparison.failed == 1 else 'are'} missing from every number here; the table of "
                "trials says which.",
                "bad",
            )
        )
    if comparison.exploratory:
        seeds = max((len(setting.seeds) for setting in comparison.settings), default=0)
        text = f"Numbers seen in {count(seeds, 'seed')}, too few to judge; nothing here is a verdict."
        notices.append(Notice("Exploratory", text, "open"))
    if comparison.shed:
        left = " ".join(sentence(entry) for entry in comparison.shed)
        notices.append(Notice("Left out for the budget", left, "open"))
    return tuple(notices)


def _footer(comparison: Comparison) -> str:
    reproduction = comparison.reproduction
    version = reproduction.versions.get("normwise", "")
    return (
        f"normwise {version}, {reproduction.created}, {count(comparison.finished, 'trial')} in "
        f"{quantity(reproduction.seconds, 's')}"
    )


def _errata(comparison: Comparison) -> Section:
    lead = Paragraph(
        "Sentences that popular articles repeat and that are wrong or not the whole truth, what is "
        "right, and, where this comparison touches it, the measurement."
    )
    return Section("errata", "Errata to popular articles", (lead, errata(comparison)))
