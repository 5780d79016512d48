from __future__ import annotations

import re

from normwise.report.figure import Panel, Reference, Series
from normwise.report.svg import render


def panel(*y: float | None, y_scale: str = "linear") -> Panel:
    x = tuple(float(i + 1) for i in range(len(y)))
    return Panel("title", "step", "value", (Series("batch", 1, "line", x, y),), y_scale=y_scale)  # type: ignore[arg-type]


def labels(svg: str) -> list[str]:
    return re.findall(r">([^<>]+)</text>", svg)


def test_ids_begin_with_the_prefix_and_are_used() -> None:
    svg = render(panel(1.0, 2.0, 3.0), "fig-0", "a < b")
    ids = set(re.findall(r' id="([^"]+)"', svg))
    assert ids
    assert all(name.startswith("fig-0-") for name in ids)
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg)) == ids - {"fig-0-title"}
    assert '<title id="fig-0-title">a &lt; b</title>' in svg


def test_drawing_twice_gives_the_same_text() -> None:
    assert render(panel(1.0, 2.0), "a", "x") == render(panel(1.0, 2.0), "a", "x")


def test_colors_are_variables_of_the_page() -> None:
    svg = render(panel(1.0, 2.0, 3.0), "a", "x")
    assert "var(--s1)" in svg
    assert 'class="grid"' in svg
    assert not re.search(r"#[0-9a-f]{6}", svg)


def test_a_missing_value_breaks_the_line() -> None:
    whole, broken = (
        re.findall(r'<path d="([^"]*)"[^>]*stroke: var\(--s1\)', render(panel(*values), "a", "x"))
        for values in ((1.0, 2.0, 3.0, 4.0), (1.0, 2.0, None, 4.0, 5.0))
    )
    assert whole[0].count("M") == 1
    assert broken[0].count("M") == 2


def test_nothing_to_draw_is_said() -> None:
    assert labels(render(panel(None, None), "a", "x")) == ["nothing was measured"]
    assert labels(render(panel(0.0, -1.0, y_scale="log"), "a", "x")) == ["nothing was measured"]


def test_wild_values_do_not_hide_the_others() -> None:
    tame = [float(i) for i in range(1, 12)]
    assert "higher values are cut" in labels(render(panel(*tame, 1e9), "a", "x"))
    assert "lower values are cut" in labels(render(panel(-1e9, *tame), "a", "x"))
    assert not [text for text in labels(render(panel(*tame), "a", "x")) if "cut" in text]


def test_a_band_where_a_logarithmic_axis_cannot_show_it_takes_no_room() -> None:
    series = Series(
        "batch", 1, "line", (0.0, 1.0, 10.0), (50.0, 90.0, 95.0), (50.0, 89.0, 94.0), (60.0, 91.0, 96.0)
    )
    ticks = labels(render(Panel("title", "step", "value", (series,), x_scale="log"), "a", "x"))
    assert "90" in ticks
    assert "60" not in ticks


def test_what_is_compared_with_is_in_view_and_a_handful_is_not_cut() -> None:
    few = Series("dropout", 1, "line", (0.2,), (96.7,), (96.6,), (96.8,))
    svg = render(Panel("title", "rate", "value", (few,), references=(Reference(99.7, "none"),)), "a", "x")
    assert not [text for text in labels(svg) if "cut" in text]
    tame = tuple(float(i) for i in range(1, 14))
    far = Series("batch", 1, "line", tame, tame)
    svg = render(Panel("title", "step", "value", (far,), references=(Reference(500.0, "none"),)), "a", "x")
    assert "400" in labels(svg)


def test_a_constant_has_room_around_it() -> None:
    ticks = labels(render(panel(5.0, 5.0, 5.0), "a", "x"))
    assert {"step", "value", "5"} <= set(ticks)


def test_long_names_stay_in_the_picture() -> None:
    name = "batch after the activation with dropout"
    series = Series(name, 1, "dots", (0.0,), (1.0,))
    texts = labels(render(Panel("", "", "test", (series,), categories=(name,)), "a", "x"))
    assert "batch after the activ…" in texts
