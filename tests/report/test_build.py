from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from normwise.report import build
from normwise.report.document import ErrataList, Paragraph
from normwise.report.figure import Figure, Series
from normwise.results import Comparison, Setting

PARTS = (
    ("learning", "fixed", "cost"),
    ("rates", "initialization"),
    ("final",),
    ("gap",),
    ("gradients", "percentiles", "layers"),
)
ORDER = ["trust", "speed", "robustness", "final", "gaps", "why", "errata", "reproduce"]


def figure_of(comparison: Comparison, kind: str) -> Figure:
    return next(figure for figure in build(comparison).figures() if figure.id == f"s1-{kind}")


def test_every_setting_has_every_figure_and_none_mixes_two(comparison: Comparison) -> None:
    figures = build(comparison).figures()
    expected = [f"{anchor}-{kind}" for part in PARTS for anchor in ("s1", "s2") for kind in part]
    assert [figure.id for figure in figures] == [*expected, "probe-growth"]
    for figure in figures:
        assert figure.caption.endswith(".")
        if figure.id.startswith("s1"):
            assert "instance" not in {series.name for panel in figure.panels for series in panel.series}


def test_sections_stand_in_their_order(comparison: Comparison) -> None:
    sections = build(comparison).sections
    assert [section.anchor for section in sections] == ORDER
    assert [section.anchor for section in sections if section.folded] == ["why"]
    assert [part.title for part in sections[1].sections] == ["MLP", "CNN"]
    alone = build(replace(comparison, settings=comparison.settings[:1])).sections
    assert [section.anchor for section in alone] == ORDER
    assert not any(section.sections for section in alone)


def test_a_variant_has_one_sign_in_all_figures(comparison: Comparison) -> None:
    signs: dict[str, set[int]] = {}
    for figure in build(comparison).figures():
        for entry in (*figure.legend, *(s for panel in figure.panels for s in panel.series if s.slot >= 0)):
            signs.setdefault(entry.name.split(",")[0], set()).add(entry.slot)
    assert all(len(slots) == 1 for slots in signs.values())
    names = [variant.name for variant in comparison.settings[1].variants]
    assert len({min(signs[name]) for name in names}) == len(names)


def test_curves_are_the_records(comparison: Comparison) -> None:
    variant = comparison.settings[0].variants[1]
    by_step, by_second = (panel.series[1] for panel in figure_of(comparison, "learning").panels)
    assert by_step.name == by_second.name == "batch"
    assert by_step.y == variant.validation_curve.median
    assert by_step.low == variant.validation_curve.low
    assert by_step.x == tuple(map(float, variant.validation_curve.steps))
    assert by_second.x == variant.validation_curve.seconds


def test_divergence_shows_as_share_and_never_as_a_value(comparison: Comparison) -> None:
    values, shares = (panel.series[0] for panel in figure_of(comparison, "rates").panels)
    assert values.name == shares.name == "none"
    assert (values.y[-1], shares.y[-1]) == (None, 100.0)
    assert shares.y[0] == 0.0


def test_seeds_are_joined_across_variants(comparison: Comparison) -> None:
    series = figure_of(comparison, "final").panels[0].series
    links = [entry for entry in series if entry.mark == "link"]
    assert len(links) == 5
    third = comparison.settings[0].seeds[2]
    link = next(entry for entry in links if entry.name == f"seed {third}")
    assert link.y == tuple(variant.final[2].test for variant in comparison.settings[0].variants)


def test_initializations_share_one_scale(comparison: Comparison) -> None:
    panels = figure_of(comparison, "initialization").panels
    assert [panel.title for panel in panels] == ["he ×1", "he ×0.1"]
    assert panels[0].limits == panels[1].limits is not None


def test_theory_stands_beside_the_measured_gradients(comparison: Comparison) -> None:
    theory = [s for s in figure_of(comparison, "gradients").panels[0].series if s.mark == "theory"]
    growth = [(float(s.y[0] or 0) / float(s.y[-1] or 1)) ** (2 / 3) for s in theory]
    assert growth == pytest.approx([1.0, 1.467], rel=1e-3)
    probe = build(comparison).figures()[-1]
    lines: list[Series] = [s for s in probe.panels[0].series if s.mark == "theory"]
    assert [s.y[-2] for s in lines] == pytest.approx([1.0, 0.5, 1.4669], rel=1e-4)


def test_what_must_be_known_first_stands_at_the_top(make: Callable[..., Comparison]) -> None:
    comparison = make()
    assert build(comparison).notices == ()
    data = replace(comparison.data, warnings=("`closed` gives the target away",))
    noted = make(
        partial=True,
        planned=90,
        failed=2,
        exploratory=True,
        shed=("instance was left out", "300 steps"),
        data=data,
    )
    notices = build(noted).notices
    assert [n.label for n in notices] == [
        "Data",
        "Partial",
        "Errors",
        "Exploratory",
        "Left out for the budget",
    ]
    assert [n.tone for n in notices] == ["bad", "bad", "bad", "open", "open"]
    assert "65 of 90 planned trials" in notices[1].text
    assert notices[2].text.startswith("2 trials raised an error")
    assert notices[4].text == "Instance was left out. 300 steps."


def test_many_variants_draw_a_handful_and_tell_the_rest(
    comparison: Comparison, setting_of: Callable[..., Setting]
) -> None:
    names = ("none", "batch", "layer", "group", "weight", "rms", "a", "b", "c", "instance")
    document = build(replace(comparison, settings=(setting_of("cnn", names),)))
    figure = next(figure for figure in document.figures() if figure.id == "s1-learning")
    drawn = [series.name for series in figure.panels[0].series]
    assert len(drawn) == 7
    assert {"none", "batch", "instance"} <= set(drawn)
    missing = [name for name in names if name not in drawn]
    assert f"Not drawn, but in every table: {', '.join(missing)}." in figure.note
    assert {row.variant for row in document.answers[0].scorecard.rows} == set(names) - {"none"}


def test_what_a_setting_leaves_out_is_told_in_it(comparison: Comparison) -> None:
    setting = replace(comparison.settings[0], notes=("instance needs positions, which an MLP has not",))
    section = build(replace(comparison, settings=(setting,))).sections[0]
    assert Paragraph("Instance needs positions, which an MLP has not.", "note") in section.blocks


def test_errata_carry_measurements(comparison: Comparison) -> None:
    section = next(section for section in build(comparison).sections if section.anchor == "errata")
    items = next(block for block in section.blocks if isinstance(block, ErrataList)).items
    told = " ".join(item.measured for item in items)
    for number in (
        "3.4%",
        "none 0.21",
        "1.461 per layer, theory 1.467",
        "3.1× in steps at its own learning rate, 1.9× at that",
    ):
        assert number in told
    assert all(item.right for item in items)
    bare = build(replace(comparison, probe=None, settings=()))
    section = next(section for section in bare.sections if section.anchor == "errata")
    items = next(block for block in section.blocks if isinstance(block, ErrataList)).items
    assert all(item.measured == "" for item in items)


def test_errata_on_batch_normalization_measure_no_other(comparison: Comparison) -> None:
    setting = comparison.settings[0]
    other = {"batch": "batch_renorm"}
    renamed = replace(
        setting,
        variants=tuple(replace(v, name=other.get(v.name, v.name)) for v in setting.variants),
        claims=tuple(replace(c, variant=other.get(c.variant, c.variant)) for c in setting.claims),
    )
    told = " ".join(
        item.measured
        for section in build(replace(comparison, settings=(renamed,))).sections
        for block in section.blocks
        if isinstance(block, ErrataList)
        for item in block.items
        if "Batch" in item.sentence and "correlation" not in item.measured
    )
    assert "batch_renorm" not in told


def test_words_that_claim_too_much_are_absent(make: Callable[..., Comparison]) -> None:
    for regression in (False, True):
        text = str(asdict(build(make(regression=regression)))).lower()
        for phrase in (
            "prevents overfitting",
            "prevent overfitting",
            "because of normalization",
            "significant",
            "proves",
        ):
            assert phrase not in text
        assert "not new data" in text


def test_what_was_not_measured_is_said_instead_of_drawn(comparison: Comparison) -> None:
    setting = comparison.settings[0]
    variants = tuple(replace(variant, initializations=()) for variant in setting.variants)
    document = build(replace(comparison, settings=(replace(setting, variants=variants),)))
    assert "s1-initialization" not in {figure.id for figure in document.figures()}
    robustness = next(section for section in document.sections if section.anchor == "robustness")
    assert Paragraph("Spread over initializations: not measured.", "note") in robustness.blocks


def test_what_every_seed_shares_is_not_said_to_be_drawn(comparison: Comparison) -> None:
    def trust(parts: Any) -> str:
        data = replace(comparison.data, fixed_parts=parts)
        section = next(s for s in build(replace(comparison, data=data)).sections if s.anchor == "trust")
        return " ".join(block.text for block in section.blocks if isinstance(block, Paragraph))

    assert "Every seed draws its own split" in trust("none")
    assert "the test part is always the same" in trust("test")
    assert "Every seed has the same split" in trust("all")
    assert "They cover the seeds on the one split of this data" in trust("all")
