"""Figures of a study: the test metric across batch sizes, depths or shares of the data, and over penalties."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from normwise.report.figure import Figure, LegendEntry, Panel, Reference, Scale, Series
from normwise.report.figures_training import metric_label
from normwise.report.names import display, full_name, start
from normwise.report.numbers import finite, median, quartiles
from normwise.results import Comparison, DataSummary, Setting, VariantResult


@dataclass(frozen=True)
class _Factor:
    """What settings may differ in, and how it is said and drawn."""

    title: str
    label: str
    read: Callable[[Setting], float | None]
    scale: Scale


_FACTORS = (
    _Factor("batch sizes", "batch size", lambda s: float(s.batch_size), "log"),
    _Factor("depths", "depth", lambda s: None if s.depth is None else float(s.depth), "linear"),
    _Factor("shares of the training rows", "training rows used (%)", lambda s: 100 * s.train_share, "log"),
)


def across(comparison: Comparison, slots: dict[str, dict[str, int]]) -> tuple[Figure, ...]:
    """Return a figure for every factor in which alone the settings of a network differ.

    Args:
        comparison: the comparison.
        slots: the signs of the drawn variants, by the name of their setting.
    """
    groups: dict[tuple[str, str], list[Setting]] = {}
    for setting in comparison.settings:
        groups.setdefault((setting.name.partition(",")[0], setting.optimizer), []).append(setting)
    figures = []
    for factor in _FACTORS:
        kept = {key: found for key, found in groups.items() if _differ_only_in(factor, found)}
        if kept:
            figures.append(_over_factor(factor, kept, comparison.data, slots))
    return tuple(figures)


def _differ_only_in(factor: _Factor, settings: list[Setting]) -> bool:
    values = [factor.read(setting) for setting in settings]
    others = [other for other in _FACTORS if other is not factor]
    return (
        None not in values
        and len(set(values)) == len(values) > 1
        and all(len({other.read(setting) for setting in settings}) == 1 for other in others)
    )


def _over_factor(
    factor: _Factor,
    groups: dict[tuple[str, str], list[Setting]],
    data: DataSummary,
    slots: dict[str, dict[str, int]],
) -> Figure:
    panels = []
    signs: dict[str, int] = {}
    for (network, optimizer), found in groups.items():
        settings = sorted(found, key=lambda setting: factor.read(setting) or 0.0)
        for setting in settings:
            for name, slot in slots[setting.name].items():
                signs.setdefault(name, slot)
        x = tuple(factor.read(setting) for setting in settings)
        series = []
        for name in dict.fromkeys(v.name for setting in settings for v in setting.variants):
            if name not in signs:
                continue
            ends = [_tests(v for v in setting.variants if v.name == name) for setting in settings]
            spread = [quartiles(values) for values in ends]
            series.append(
                Series(
                    name,
                    signs[name],
                    "line",
                    x,
                    tuple(median(values) for values in ends),
                    tuple(low for low, _ in spread),
                    tuple(high for _, high in spread),
                )
            )
        several = len({key[1] for key in groups}) > 1
        title = f"{display(network)}, {optimizer}" if several else display(network)
        panels.append(
            Panel(
                title,
                factor.label,
                metric_label(data, "test"),
                tuple(series),
                x_scale=factor.scale,
                ticks=tuple(value for value in x if value is not None),
            )
        )
    used = {entry.name for panel in panels for entry in panel.series}
    return Figure(
        id=f"across-{factor.title.split()[0]}",
        title=f"Across {factor.title}",
        caption=f"Final test {data.metric} at each variant's tuned learning rate: the median over fresh seeds "
        "and the band of the middle half.",
        panels=tuple(panels),
        legend=tuple(LegendEntry(name, slot) for name, slot in signs.items() if name in used),
        note="Each point is tuned and judged by itself; verdicts stand with its setting.",
    )


def _tests(variants: Iterable[VariantResult]) -> list[float]:
    return finite(end.test for variant in variants for end in variant.final)


_LOG: Scale = "log"
_LINEAR: Scale = "linear"
_PENALTIES = {"l1": "L1", "l2": "L2", "weight_decay": "weight decay"}
_SIGNS = {"l1": 1, "l2": 2, "weight_decay": 3, "dropout": 4}
_MORE_SIGNS = (5, 6, 7, 0)


def penalties(setting: Setting, data: DataSummary, anchor: str) -> Figure | None:
    """Return test and train metric and sparsity over the strength of penalties, dropout beside them.

    Only variants with one penalty and nothing else are points of a curve. None where no penalty was compared in two
    strengths.
    """
    found = _strengths(setting)
    strengths = _curves({key: points for key, points in found.items() if key[0] != "dropout"})
    rates = _curves({key: points for key, points in found.items() if key[0] == "dropout"})
    curves = {**strengths, **rates}
    if not curves:
        return None
    signs = _signs(curves)
    panels = []
    for drawn, label, scale in ((strengths, "strength λ", _LOG), (rates, "dropout rate", _LINEAR)):
        if drawn:
            panels += [
                _over_strength(part, drawn, signs, label, scale, setting, data) for part in ("test", "train")
            ]
    sparse = tuple(
        Series(
            _curve_name(*key),
            signs[key],
            "line",
            tuple(x for x, _ in points),
            tuple(None if v.sparsity is None else 100 * v.sparsity for _, v in points),
        )
        for key, points in strengths.items()
    )
    if any(finite(entry.y) for entry in sparse):
        zeros = Panel("Weights at zero", "strength λ", "weights at exactly zero (%)", sparse, x_scale="log")
        panels.insert(2, zeros)
    return Figure(
        id=f"{anchor}-penalties",
        title="Over λ: what a penalty does at each strength",
        caption=f"Final {data.metric} on the test and on the train part over the strength of a penalty: the median "
        "over fresh seeds and the band of the middle half, each at its own tuned learning rate; the dotted line is "
        f"{full_name(setting.baseline)}.",
        panels=tuple(panels),
        legend=tuple(LegendEntry(_curve_name(*key), signs[key]) for key in curves),
        note="A penalty overfits less where train and test come together; it costs too much where both fall.",
    )


Curves = dict[tuple[str, str], list[tuple[float, VariantResult]]]
"""(kind of penalty, normalization) → (strength, variant), the weakest first."""


def _strengths(setting: Setting) -> Curves:
    found: Curves = {}
    for variant in setting.variants:
        active = {kind: size for kind, size in (variant.penalties or {}).items() if size}
        # Two penalties at once, or an augmentation beside one, are no point of either's curve.
        if len(active) == 1 and variant.name.count(" + ") <= 1:
            kind, size = next(iter(active.items()))
            if kind in _SIGNS:
                found.setdefault((kind, variant.norm), []).append((size, variant))
    return {
        key: sorted(points, key=lambda point: point[0])
        for key, points in found.items()
        # One strength beside another normalization is no curve.
        if len(points) > 1 or key[1] in ("", "none")
    }


def _curves(points: Curves) -> Curves:
    """Keep kinds that share an axis where one of them was compared in two strengths: a lone point is no curve."""
    return points if any(len(of_kind) > 1 for of_kind in points.values()) else {}


def _signs(curves: Curves) -> dict[tuple[str, str], int]:
    """Give each penalty its sign; those beside a normalization get others."""
    beside = [key for key in curves if key[1] not in ("", "none")]
    return {
        key: _MORE_SIGNS[beside.index(key) % len(_MORE_SIGNS)] if key in beside else _SIGNS[key[0]]
        for key in curves
    }


def _curve_name(kind: str, norm: str) -> str:
    name = _PENALTIES.get(kind, kind)
    return name if norm in ("", "none") else f"{name} with {norm}"


def _over_strength(
    part: str,
    curves: Curves,
    signs: dict[tuple[str, str], int],
    label: str,
    scale: Scale,
    setting: Setting,
    data: DataSummary,
) -> Panel:
    series = []
    for key, points in curves.items():
        ends = [finite(end.test if part == "test" else end.train for end in v.final) for _, v in points]
        spread = [quartiles(values) for values in ends]
        series.append(
            Series(
                _curve_name(*key),
                signs[key],
                "line",
                tuple(size for size, _ in points),
                tuple(median(values) for values in ends),
                tuple(low for low, _ in spread),
                tuple(high for _, high in spread),
            )
        )
    plain = next((v for v in setting.variants if v.name == setting.baseline), None)
    level = (
        None if plain is None else median(end.test if part == "test" else end.train for end in plain.final)
    )
    ticks = (
        tuple(sorted({size for points in curves.values() for size, _ in points})) if scale == "linear" else ()
    )
    return Panel(
        f"{start(part)} over {label.partition(' λ')[0]}",
        label,
        metric_label(data, part),
        tuple(series),
        x_scale=scale,
        references=() if level is None else (Reference(level, setting.baseline),),
        ticks=ticks,
    )
