"""The plan on a terminal: what was understood, what will run, how long it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from normwise.cli.durations import exactly, in_words
from normwise.report.names import metric_name
from normwise.results import DataSummary, PlannedSetting, PlanSummary

_NOTES = 12
"""More notes than this fill a screen; the report has them all."""


def print_plan(plan: PlanSummary, console: Console, *, config: Path | None) -> None:
    """Print the plan; labels left, words right, readable at 80 columns and in a pipe."""
    data = plan.data
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")

    def row(label: str, text: str, style: str = "") -> None:
        table.add_row(Text(label, style="bold"), Text(text, style=style))

    console.print(Text(plan.question, style="bold"))
    row("data", f"{data.name}: {data.rows:,} rows, {data.inputs}")
    row("target", _target(data))
    row("metric", metric_name(data.metric) + _why(data))
    train, validation, test = data.split
    row("split", f"{train:,} train, {validation:,} validation, {test:,} test rows")
    for i, warning in enumerate(data.warnings):
        row("warning" if i == 0 else "", warning, "bold yellow")
    notes = [note for note in data.notes if not note.startswith("metric ")]
    for i, note in enumerate(notes[:_NOTES]):
        row("notes" if i == 0 else "", note)
    if len(notes) > _NOTES:
        row("", f"and {len(notes) - _NOTES} more, all in the report")
    for label, words in _what_runs(plan.settings):
        row(label, words)
    row("seeds", _seeds(plan))
    if plan.references:
        row("beside them", ", ".join(plan.references))
    row("time", _time(plan), "" if plan.fits else "bold yellow")
    for i, words in enumerate(plan.shed):
        row("left out" if i == 0 else "", words)
    if config is not None:
        row("from", f"{config.name} in {config.parent}")
    row("run", plan.directory + (" (goes on from what is there)" if plan.resumed else ""))
    console.print(table)


def _target(data: DataSummary) -> str:
    if data.task == "regression":
        return f"{data.target}: a quantity ({data.task_reason})"
    names = ", ".join(data.classes[:6]) + (
        f" and {len(data.classes) - 6:,} more" if len(data.classes) > 6 else ""
    )
    return f"{data.target}: {len(data.classes):,} classes, {names} ({data.task_reason})"


def _why(data: DataSummary) -> str:
    prefix = f"metric {metric_name(data.metric)}, "
    reason = next((note.removeprefix(prefix) for note in data.notes if note.startswith(prefix)), "")
    return f", {reason}" if reason else ""


def _what_runs(settings: Sequence[PlannedSetting]) -> list[tuple[str, str]]:
    """Networks, variants and how they train; what all settings share is said once."""
    rows: list[tuple[str, str]] = []
    rows += _each("network", settings, lambda s: s.network)
    rows += _each("variants", settings, lambda s: f"{', '.join(s.variants)}; against {s.baseline}")
    rows += _each("training", settings, _training)
    notes = dict.fromkeys(note for setting in settings for note in setting.notes)
    return rows + [("", note) for note in notes]


def _training(setting: PlannedSetting) -> str:
    rates = ", ".join(f"{lr:g}" for lr in setting.lrs)
    return (
        f"batch {setting.batch_size}, {setting.optimizer}, {setting.steps:,} steps ({setting.epochs:.2g} "
        f"epochs); learning rates {rates}; "
        f"initialization {', '.join(setting.initializations)}"
    )


def _each(
    label: str, settings: Sequence[PlannedSetting], words: Callable[[PlannedSetting], str]
) -> list[tuple[str, str]]:
    """One row for all settings of which the same is to be said, with their names where there are others."""
    said: dict[str, list[str]] = {}
    for setting in settings:
        said.setdefault(words(setting), []).append(setting.name)
    if len(said) == 1:
        return [(label, next(iter(said)))]
    rows = [f"{'; '.join(names)}: {text}" for text, names in said.items()]
    return [(label if i == 0 else "", text) for i, text in enumerate(rows)]


def _seeds(plan: PlanSummary) -> str:
    words = f"{plan.scan_seeds} to choose learning rates, then {plan.seeds} fresh"
    return words + (": a first look, without verdicts" if plan.exploratory else "")


def _time(plan: PlanSummary) -> str:
    if plan.resumed and not plan.seconds:
        return "every training is there already"
    cores = f"{plan.workers} core{'s' if plan.workers > 1 else ''}"
    words = f"{in_words(plan.seconds)} on {cores} for about {plan.trainings:,} trainings"
    if plan.budget is None:
        return f"{words}; no budget"
    if plan.fits:
        return f"{words}; budget {exactly(plan.budget)}"
    return (
        f"{words}: over the budget of {exactly(plan.budget)}. Seeds are never left out, nor what was asked for by name "
        "unless --budget is, too; --quick takes three seeds"
    )
