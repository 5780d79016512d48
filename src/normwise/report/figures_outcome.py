"""Figures of the outcome: the final test metric seed by seed, the gap, the milliseconds of a step."""

from __future__ import annotations

from normwise.report.figure import Figure, Panel, Reference, Series
from normwise.report.figures_training import metric_label
from normwise.report.numbers import count, finite, listing, median, with_unit
from normwise.report.palette import left_out, shown
from normwise.report.references import TRIVIAL
from normwise.results import DataSummary, ReferenceResult, Setting


def final_metric(
    setting: Setting,
    data: DataSummary,
    slots: dict[str, int],
    anchor: str,
    references: tuple[ReferenceResult, ...] = (),
) -> Figure:
    """The final test metric of every fresh seed; a line joins the same seed across variants.

    Models that are no networks stand below the networks, but for those that look at no input: they lie so far off
    that nothing else could be told apart.
    """
    variants = shown(setting)
    others = [r for r in references if r.name not in TRIVIAL and finite(r.values)]
    by_seed: dict[int, list[tuple[float, float | None]]] = {}
    series: list[Series] = []
    for row, variant in enumerate(variants):
        for end in variant.final:
            by_seed.setdefault(end.seed, []).append((float(row), end.test))
    for seed, points in by_seed.items():
        x, y = zip(*points, strict=True)
        series.append(Series(f"seed {seed}", -1, "link", x, y))
    ends = [(v.name, slots[v.name], tuple(end.test for end in v.final)) for v in variants]
    ends += [(reference.name, -1, reference.values) for reference in others]
    for row, (name, slot, values) in enumerate(ends):
        kept = finite(values)
        series.append(Series(name, slot, "dots", (float(row),) * len(kept), tuple(kept)))
        series.append(Series(f"{name}, median", slot, "tick", (float(row),), (median(kept),)))
    lost = [
        f"{v.name} {sum(end.diverged for end in v.final)}"
        for v in variants
        if any(e.diverged for e in v.final)
    ]
    note = f"Diverged at the tuned learning rate: {', '.join(lost)}. " if lost else ""
    beside = f" Grey, below the networks: {listing([r.name for r in others])}." if others else ""
    return Figure(
        id=f"{anchor}-final",
        title=f"Final test {data.metric}, seed by seed",
        caption="One dot per fresh seed at the tuned learning rate; a thin line joins the same seed (the "
        "same split, data order and, where shapes allow, initial weights) across variants; the bar is "
        f"the median of {count(len(setting.seeds), 'seed')}.{beside}",
        panels=(
            Panel(
                "",
                "",
                metric_label(data, "test"),
                tuple(series),
                categories=tuple(name for name, _, _ in ends),
            ),
        ),
        note=f"{note}{left_out(setting)}".strip(),
    )


def gap(setting: Setting, data: DataSummary, slots: dict[str, int], anchor: str) -> Figure:
    """Train and test side by side, and the gap between them with its interval."""
    variants = shown(setting)
    names = tuple(v.name for v in variants)
    sides: list[Series] = []
    gaps: list[Series] = []
    for row, variant in enumerate(variants):
        slot, x = slots[variant.name], (float(row),)
        train = median(end.train for end in variant.final)
        test = median(end.test for end in variant.final)
        sides.append(Series(f"{variant.name}, train to test", -1, "link", x * 2, (train, test)))
        sides.append(Series(f"{variant.name}, train", slot, "dots", x, (train,), hollow=True))
        sides.append(Series(f"{variant.name}, test", slot, "dots", x, (test,)))
        bars = variant.gap.interval
        gaps.append(Series(variant.name, slot, "range", x, (variant.gap.value,), (bars.low,), (bars.high,)))
    unit = next((v.gap.unit for v in variants if v.gap.unit), data.metric_unit)
    return Figure(
        id=f"{anchor}-gap",
        title="Train, test, and the gap between them",
        caption=f"Left: median {data.metric} over seeds on the training part (hollow, in evaluation mode) "
        "and on the test part (filled). Right: the gap between the two with its 95% interval; to the "
        "right of zero, train is ahead.",
        panels=(
            Panel("train (hollow) and test (filled)", "", metric_label(data), tuple(sides), categories=names),
            Panel(
                "gap",
                "",
                with_unit("gap", unit),
                tuple(gaps),
                categories=names,
                references=(Reference(0.0, ""),),
            ),
        ),
        note=left_out(setting),
    )


def cost(setting: Setting, slots: dict[str, int], anchor: str) -> Figure:
    """Milliseconds of one training step, with quartiles."""
    variants = shown(setting)
    series = tuple(
        Series(
            variant.name,
            slots[variant.name],
            "range",
            (float(row),),
            (timed.milliseconds,),
            (timed.low,),
            (timed.high,),
        )
        for row, variant in enumerate(variants)
        if (timed := variant.cost) is not None
    )
    return Figure(
        id=f"{anchor}-cost",
        title="Milliseconds per training step",
        caption="Time of one training step (forward, backward, update): median and quartiles over bursts "
        "in which the variants take turns in one otherwise idle process.",
        panels=(
            Panel("", "", "ms per step", series, categories=tuple(v.name for v in variants), from_zero=True),
        ),
        note=left_out(setting),
    )
