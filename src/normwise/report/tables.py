"""Tables: the results of a setting, the numbers behind a figure, every trial."""

from __future__ import annotations

from collections.abc import Sequence

from normwise.report.document import Table
from normwise.report.figure import Figure, Panel
from normwise.report.numbers import (
    MISSING,
    bare,
    effect,
    finite,
    learning_rate,
    median,
    number,
    quantity,
    with_unit,
)
from normwise.report.phrases import PHRASES
from normwise.results import ClaimName, Comparison, DataSummary, Setting, VariantResult


def results(setting: Setting, data: DataSummary) -> Table:
    """Return the numbers of every variant of a setting, drawn or not; sparsity where any was measured."""
    sparse = any(variant.sparsity is not None for variant in setting.variants)
    columns = (
        "variant",
        "learning rate",
        with_unit(f"test {data.metric}", data.metric_unit),
        with_unit("train − test", next((v.gap.unit for v in setting.variants), data.metric_unit)),
        *(("weights at zero",) if sparse else ()),
        "steps to target",
        "seconds to target",
        "reached",
        "ms per step",
        "dead units",
        "diverged (95% interval, %)",
        "parameters",
        "what it is",
    )
    rows = tuple(_result(variant, data, sparse) for variant in setting.variants)
    return Table(
        "Every variant in numbers: medians over fresh seeds at the tuned learning rate; steps and "
        "seconds are medians of the runs in which a run that missed the target counts as longer than all "
        "others.",
        columns,
        rows,
        (False, *(True,) * (len(columns) - 2), False),
    )


def _result(variant: VariantResult, data: DataSummary, sparse: bool) -> tuple[str, ...]:
    unit = data.metric_unit
    test = median(end.test for end in variant.final)
    seeds = len(variant.steps_to_target)
    wilson = (
        _share(variant.divergence_interval.low, variant.divergence_interval.high) if variant.diverged else ""
    )
    return (
        variant.name,
        learning_rate(variant.tuned_lr) + (" (edge)" if variant.tuned_at_edge else ""),
        quantity(test, "%") if unit == "%" else number(test),
        bare(variant.gap.value, variant.gap.unit),
        *((_percent(variant.sparsity),) if sparse else ()),
        number(_censored_median(variant.steps_to_target)),
        number(_censored_median(variant.seconds_to_target)),
        f"{len(finite(variant.steps_to_target))} of {seeds}" if seeds else MISSING,
        MISSING if variant.cost is None else number(variant.cost.milliseconds),
        _percent(variant.dead_fraction),
        f"{variant.diverged} of {variant.runs}{wilson}",
        f"{variant.parameters:,}",
        variant.description,
    )


def _percent(share: float | None) -> str:
    return MISSING if share is None else quantity(100 * share, "%")


def initializations(setting: Setting, data: DataSummary) -> Table | None:
    """Return the median test metric per initialization and variant; None where fewer than three were compared."""
    names = list(dict.fromkeys(s.initialization for v in setting.variants for s in v.initializations))
    if len(names) < 3:
        return None
    rows = []
    for name in names:
        cells = []
        for variant in setting.variants:
            spread = next((s for s in variant.initializations if s.initialization == name), None)
            middle = None if spread is None else spread.median
            if spread is not None and middle is None:
                middle = median(spread.values)
            lost = f" ({spread.diverged} diverged)" if spread is not None and spread.diverged else ""
            cells.append(quantity(middle, data.metric_unit) + lost)
        rows.append((name, *cells))
    return Table(
        f"Median test {data.metric} under each initialization, a column for each variant.",
        ("initialization", *(variant.name for variant in setting.variants)),
        tuple(rows),
        (False, *(True,) * len(setting.variants)),
    )


def _censored_median(values: Sequence[float | None]) -> float | None:
    """Return the median where None is longer than any number; None where the median itself is censored."""
    kept = sorted(finite(values))
    middle = (len(values) - 1) // 2
    upper = len(values) // 2
    if not values or upper >= len(kept):
        return None
    return (kept[middle] + kept[upper]) / 2


def claim_details(setting: Setting, names: Sequence[ClaimName] = tuple(PHRASES)) -> Table:
    """Return the statistics behind some claims of a setting, for readers who want to check a verdict."""
    columns = (
        "claim",
        "variant",
        "verdict",
        "effect",
        "95% interval",
        "interval for the family",
        "share of pairs won",
        "sign-flip p",
        "p after Holm",
        "smallest effect shown",
        "seeds needed",
    )
    rows = []
    for claim in (claim for name in names for claim in setting.claims if claim.claim == name):
        unit, evidence = claim.effect.unit, claim.evidence or {}
        share = evidence.get("probability_of_superiority")
        won = MISSING if share is None else f"{100 * share:.0f}%"
        rows.append(
            (
                PHRASES[claim.claim].label,
                claim.variant,
                claim.verdict,
                effect(claim.effect),
                _span(claim.effect.interval.low, claim.effect.interval.high, unit),
                _span(evidence.get("family_low"), evidence.get("family_high"), unit),
                won + _share(evidence.get("superiority_low"), evidence.get("superiority_high")),
                number(evidence.get("sign_flip_p"), 2),
                number(evidence.get("holm_p"), 2),
                quantity(claim.smallest_detectable, unit),
                number(claim.seeds_needed),
            )
        )
    return Table(
        "The statistics behind these verdicts",
        columns,
        tuple(rows),
        (False, False, False, *(True,) * (len(columns) - 3)),
        collapsed=True,
    )


def _span(low: float | None, high: float | None, unit: str) -> str:
    return MISSING if low is None and high is None else f"{bare(low, unit)} to {bare(high, unit)}"


def _share(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({100 * low:.0f} to {100 * high:.0f})"


def figure_numbers(figure: Figure) -> tuple[Table, ...]:
    """Return the numbers behind a figure, one table for each panel."""
    return tuple(_panel_numbers(figure, panel) for panel in figure.panels)


def _panel_numbers(figure: Figure, panel: Panel) -> Table:
    caption = " – ".join(part for part in (panel.title or figure.title, panel.y_label) if part)
    series = [entry for entry in panel.series if entry.mark != "link"]
    if panel.categories:
        cells = [[_point(e.y, e.low, e.high, i) for i in range(len(e.y))] for e in series]
        listed = tuple((e.name, "; ".join(texts) or MISSING) for e, texts in zip(series, cells, strict=True))
        return Table(caption, ("series", panel.y_label or "value"), listed, (False, True))
    x_label = panel.x_label or "x"
    if len({entry.x for entry in series}) == 1:
        grid = series[0].x
        rows = tuple(
            (number(x), *(_point(entry.y, entry.low, entry.high, i) for entry in series))
            for i, x in enumerate(grid)
        )
        return Table(caption, (x_label, *(entry.name for entry in series)), rows, (True,) * (len(series) + 1))
    points = tuple(
        (entry.name, number(x), _point(entry.y, entry.low, entry.high, i))
        for entry in series
        for i, x in enumerate(entry.x)
    )
    return Table(caption, ("series", x_label, panel.y_label or "value"), points, (False, True, True))


def _point(
    y: Sequence[float | None], low: Sequence[float | None], high: Sequence[float | None], i: int
) -> str:
    if i >= len(y):
        return MISSING
    text = number(y[i], 4)
    if i < len(low) and i < len(high) and low[i] is not None and high[i] is not None:
        text += f" ({number(low[i], 4)} to {number(high[i], 4)})"
    return text


def trials(comparison: Comparison) -> Table:
    """Return every trial as a row, the columns in the order in which they first appear."""
    columns = tuple(dict.fromkeys(key for trial in comparison.trials for key in trial))
    numeric = tuple(
        all(isinstance(trial.get(column), int | float | None) for trial in comparison.trials)
        for column in columns
    )
    rows = tuple(tuple(_plain(trial.get(column)) for column in columns) for trial in comparison.trials)
    return Table(f"Every trial ({len(rows):,})", columns, rows, numeric, collapsed=True)


def _plain(value: str | float | int | None) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool | str):
        return str(value)
    return f"{value}" if isinstance(value, int) else f"{value:.6g}"


def pairs(caption: str, values: dict[str, str], heads: tuple[str, str]) -> Table:
    """Return a mapping as a table of two columns."""
    return Table(caption, heads, tuple(values.items()))
