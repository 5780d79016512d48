"""Figures of training: learning curves, robustness to the learning rate, spread over initializations."""

from __future__ import annotations

from normwise.report.figure import Figure, Panel, Reference, Series
from normwise.report.numbers import finite, learning_rate, median, with_unit
from normwise.report.palette import left_out, legend, shown
from normwise.results import Curve, DataSummary, Setting


def curve(name: str, slot: int, data: Curve, *, seconds: bool = False) -> Series:
    """Turn a curve record into a series with its band."""
    x = data.seconds if seconds else data.steps
    return Series(name, slot, "line", tuple(float(v) for v in x), data.median, data.low, data.high)


def metric_label(data: DataSummary, part: str = "") -> str:
    """Name the metric on an axis: "validation accuracy (%)"."""
    return with_unit(f"{part} {data.metric}".strip(), data.metric_unit)


def learning_curves(setting: Setting, data: DataSummary, slots: dict[str, int], anchor: str) -> Figure:
    """Validation metric at the tuned learning rate, against steps and against seconds."""
    variants = shown(setting)
    target = () if setting.target is None else (Reference(setting.target, "target"),)
    label = metric_label(data, "validation")
    by_step = tuple(curve(v.name, slots[v.name], v.validation_curve) for v in variants)
    by_second = tuple(curve(v.name, slots[v.name], v.validation_curve, seconds=True) for v in variants)
    rates = ", ".join(f"{v.name} {learning_rate(v.tuned_lr)}" for v in variants)
    return Figure(
        id=f"{anchor}-learning",
        title="Learning curves at each variant's tuned learning rate",
        caption=f"Validation {data.metric} while training, against steps (left) and against seconds of "
        "training (right): the median over fresh seeds and the band of the middle half.",
        panels=(
            Panel("against steps", "step", label, by_step, x_scale="log", references=target),
            Panel(
                "against seconds", "seconds of training", label, by_second, x_scale="log", references=target
            ),
        ),
        legend=legend(setting, slots),
        note=f"Learning rates: {rates}. {left_out(setting)}".strip(),
    )


def fixed_curves(setting: Setting, data: DataSummary, slots: dict[str, int], anchor: str) -> Figure:
    """The validation metric at one learning rate for all, and the training loss at the tuned one."""
    variants = shown(setting)
    rate = next((v.tuned_lr for v in setting.variants if v.name == setting.baseline), None)
    fixed = tuple(curve(v.name, slots[v.name], v.fixed_validation_curve) for v in variants)
    loss = tuple(curve(v.name, slots[v.name], v.train_loss_curve) for v in variants)
    target = () if setting.target is None else (Reference(setting.target, "target"),)
    return Figure(
        id=f"{anchor}-fixed",
        title="The same learning rate for all, and the training loss",
        caption=f"Left: validation {data.metric} when every variant trains at the learning rate tuned for "
        f"{setting.baseline} ({learning_rate(rate)}). Right: training loss in evaluation mode at each "
        "variant's own learning rate. Median over seeds and the band of the middle half.",
        panels=(
            Panel(
                f"all at {learning_rate(rate)}",
                "step",
                metric_label(data, "validation"),
                fixed,
                x_scale="log",
                references=target,
            ),
            Panel("each at its own rate", "step", "training loss", loss, x_scale="log", y_scale="log"),
        ),
        legend=legend(setting, slots),
        note=left_out(setting),
    )


def rate_robustness(setting: Setting, data: DataSummary, slots: dict[str, int], anchor: str) -> Figure:
    """The validation metric over the learning rates of the scan, and the share of runs that diverged."""
    values, shares = [], []
    for variant in shown(setting):
        rates = tuple(point.lr for point in variant.scan)
        ends = [finite(point.values) for point in variant.scan]
        values.append(
            Series(
                variant.name,
                slots[variant.name],
                "line",
                rates,
                tuple(point.median for point in variant.scan),
                tuple(min(end) if end else None for end in ends),
                tuple(max(end) if end else None for end in ends),
            )
        )
        share = tuple(100 * p.diverged / p.runs if p.runs else None for p in variant.scan)
        shares.append(Series(variant.name, slots[variant.name], "line", rates, share))
    extended = (
        " The grid was extended for all variants, because a best rate sat at its edge."
        * setting.grid_extended
    )
    edge = [v.name for v in setting.variants if v.tuned_at_edge]
    warning = f" Still best at the edge: {', '.join(edge)}." if edge else ""
    return Figure(
        id=f"{anchor}-rates",
        title="Robustness to the learning rate",
        caption=f"Left: validation {data.metric} at the end of training for each learning rate of the "
        "scan, median and range over its seeds. Right: share of runs that diverged; a diverged run has "
        "no value on the left.",
        panels=(
            Panel("result", "learning rate", metric_label(data, "validation"), tuple(values), x_scale="log"),
            Panel(
                "diverged", "learning rate", "runs (%)", tuple(shares), x_scale="log", limits=(-3.0, 103.0)
            ),
        ),
        legend=legend(setting, slots),
        note=f"{extended}{warning} {left_out(setting)}".strip(),
    )


def initialization_spread(setting: Setting, data: DataSummary, slots: dict[str, int], anchor: str) -> Figure:
    """The final test metric of every seed under each initialization.

    A panel for each initialization or for each variant, whichever are fewer; the others stand in its rows.
    """
    variants = shown(setting)
    spreads = [(v.name, s) for v in variants for s in v.initializations]
    scales = tuple(dict.fromkeys(spread.initialization for _, spread in spreads))
    names = tuple(v.name for v in variants)
    everything = finite(v for _, spread in spreads for v in spread.values)
    # The same limits in every panel: only then can places be compared between them.
    limits = _padded(min(everything), max(everything)) if everything else None
    turned = len(scales) > len(names)
    titles, rows = (names, scales) if turned else (scales, names)
    panels = []
    for title in titles:
        series: list[Series] = []
        for name, spread in spreads:
            here, row = (name, spread.initialization) if turned else (spread.initialization, name)
            if here != title:
                continue
            kept, at = finite(spread.values), float(rows.index(row))
            slot = slots[name]
            middle = spread.median if spread.median is not None else median(kept)
            series.append(Series(row, slot, "dots", (at,) * len(kept), tuple(kept)))
            series.append(Series(f"{row}, median", slot, "tick", (at,), (middle,)))
        panels.append(
            Panel(title, "", metric_label(data, "test"), tuple(series), categories=rows, limits=limits)
        )
    lost = [
        f"{v.name} {spread.diverged} under {spread.initialization}"
        for v in setting.variants
        for spread in v.initializations
        if spread.diverged
    ]
    note = f"Diverged and therefore without a dot: {', '.join(lost)}. " if lost else ""
    how = (
        "stays at the same place from row to row"
        if turned
        else "has its dots at the same place in every panel"
    )
    return Figure(
        id=f"{anchor}-initialization",
        title="Spread over initializations",
        caption=f"Final test {data.metric} under each initialization, one dot per fresh seed, the bar at "
        f"their median. A variant that is indifferent to the initialization {how}.",
        panels=tuple(panels),
        note=f"{note}{left_out(setting)}".strip(),
    )


def _padded(low: float, high: float) -> tuple[float, float]:
    pad = (high - low) * 0.05 or max(abs(high) * 0.05, 0.5)
    return low - pad, high + pad
