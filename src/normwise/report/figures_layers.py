"""Figures of the inside: gradient flow beside the oracle, activation percentiles, the gradient probe."""

from __future__ import annotations

import math

from normwise.report.figure import Figure, LegendEntry, Panel, Series
from normwise.report.numbers import finite, interval, number
from normwise.report.palette import left_out, legend, shown
from normwise.results import GradientProbe, Setting

HE_SLOPE = 1.0
BATCH_SLOPE = math.pi / (math.pi - 1)
"""Growth of the squared gradient norm per layer towards the input, wide ReLU network at initialization."""


def gradient_flow(setting: Setting, slots: dict[str, int], anchor: str) -> Figure:
    """RMS of the gradient by layer, before and after training, with the slopes of theory as reference."""
    variants = shown(setting)
    depth = max((len(v.gradient.layers) for v in variants), default=0)
    start = tuple(
        Series(v.name, slots[v.name], "line", _layers(len(v.gradient.start)), v.gradient.start)
        for v in variants
    )
    end = tuple(
        Series(v.name, slots[v.name], "line", _layers(len(v.gradient.end)), v.gradient.end) for v in variants
    )
    slopes = ", ".join(
        f"{v.name} {number(v.gradient.start_slope)}" for v in variants if v.gradient.start_slope is not None
    )
    fitted = (
        f"Squared gradient norm per layer towards the input, fitted at the start: {slopes}. "
        if slopes
        else ""
    )
    return Figure(
        id=f"{anchor}-gradients",
        title="Gradient flow by layer",
        caption="RMS of the loss gradient at each hidden layer's pre-activation, first to last, before "
        "training (left) and at the end (right); median over seeds. The thin lines are the slopes of the "
        "theory of wide networks.",
        panels=(
            Panel(
                "before training",
                "hidden layer",
                "gradient RMS",
                start + _theory(start, depth),
                y_scale="log",
            ),
            Panel("at the end", "hidden layer", "gradient RMS", end, y_scale="log"),
        ),
        legend=legend(setting, slots),
        note=f"{fitted}1 is level, below 1 vanishes, above 1 explodes; theory of wide fully connected "
        "ReLU networks: 1 "
        f"under He initialization, 1.467 under Batch Normalization. {left_out(setting)}".strip(),
    )


def _layers(n: int) -> tuple[float, ...]:
    return tuple(float(i + 1) for i in range(n))


def _theory(measured: tuple[Series, ...], depth: int) -> tuple[Series, ...]:
    """Draw the oracle's slopes through the geometric mean of what was measured at the last layer."""
    last = [value for series in measured for value in finite(series.y[-1:]) if value > 0]
    if depth < 2 or not last:
        return ()
    anchor = math.exp(sum(map(math.log, last)) / len(last))
    x = _layers(depth)
    # The oracle is of squared norms; the figure shows their root.
    return tuple(
        Series(f"theory {label}", -1, "theory", x, tuple(anchor * slope ** ((depth - i) / 2) for i in x))
        for label, slope in (("1.0", HE_SLOPE), ("1.467", BATCH_SLOPE))
    )


def percentiles(setting: Setting, slots: dict[str, int], anchor: str) -> Figure:
    """The 15/50/85 percentiles of the last hidden pre-activation over training."""
    panels = []
    for variant in shown(setting):
        record = variant.percentiles
        series = Series(
            variant.name,
            slots[variant.name],
            "line",
            tuple(float(step) for step in record.steps),
            record.p50,
            record.p15,
            record.p85,
        )
        panels.append(Panel(variant.name, "step", "", (series,), size="small"))
    return Figure(
        id=f"{anchor}-percentiles",
        title="Activation percentiles over training",
        caption="One unit of the last hidden pre-activation in one seed, over a batch: the line is the "
        "median, the band reaches from the 15th to the 85th percentile (the figure of Ioffe & Szegedy "
        "2015).",
        panels=tuple(panels),
        note=f"Each panel has its own vertical scale. Seen beside the learning curves; no cause is claimed. "
        f"{left_out(setting)}".strip(),
    )


def activation_spread(setting: Setting, slots: dict[str, int], anchor: str) -> Figure:
    """Standard deviation of the activations by hidden layer at the end of training."""
    series = tuple(
        Series(v.name, slots[v.name], "line", _layers(len(v.activation_std)), v.activation_std)
        for v in shown(setting)
    )
    inside = [
        f"{v.name} {', '.join(parts)}"
        for v in shown(setting)
        if (
            parts := [
                f"{what} {number(value, 2)}"
                for what, value in (("dead units", v.dead_fraction), ("correlation", v.correlation))
                if value is not None
            ]
        )
    ]
    told = f"Mean over layers, dead units as a share, correlation between channels: {'; '.join(inside)}. "
    return Figure(
        id=f"{anchor}-layers",
        title="Activations by layer",
        caption="Standard deviation of each hidden layer's activations at the end of training, first layer to "
        "last; median over seeds. Level lines keep their signal over depth.",
        panels=(Panel("", "hidden layer", "standard deviation", series, y_scale="log"),),
        legend=legend(setting, slots),
        note=f"{told if inside else ''}{left_out(setting)}".strip(),
    )


def probe_figure(probe: GradientProbe, anchor: str) -> Figure:
    """Growth of the squared gradient norm in a wide deep network, measured beside the exact oracle."""
    series: list[Series] = []
    names: list[LegendEntry] = []
    lines = []
    for slot, (name, curve, oracle, estimate) in enumerate(
        zip(probe.names, probe.curves, probe.oracle, probe.measured, strict=False)
    ):
        depth = len(curve)
        x = _layers(depth)
        # Batch Normalization keeps the signs that it has in the figures of every setting.
        sign = 1 if "batch" in name.lower() else (0, 7, 5, 3)[slot % 4]
        names.append(LegendEntry(name, sign))
        series.append(Series(name, sign, "line", x, curve))
        exact = tuple(oracle ** (depth - i) if oracle > 0 else None for i in x)
        series.append(Series(f"theory {number(oracle, 4)}", -1, "theory", x, exact))
        spread = interval(estimate.interval, "")
        inside = f" ({spread})" if spread else ""
        lines.append(f"{name}: {number(estimate.value, 4)}{inside}, exact {number(oracle, 4)}")
    return Figure(
        id=anchor,
        title="Gradient growth in a wide, deep network, beside the exact value",
        caption="Squared gradient norm by layer relative to the last one, at initialization of a ReLU "
        f"network of width {probe.width} and depth {probe.depth}, batch {probe.batch_size}, mean of "
        f"{probe.seeds} seeds; the thin lines are exact.",
        panels=(Panel("", "layer", "squared gradient norm", tuple(series), y_scale="log"),),
        legend=tuple(names),
        note=f"{'; '.join(lines)}." if lines else "",
    )
