from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from normwise.report import build
from normwise.report.document import Paragraph, Table
from normwise.report.figure import Figure
from normwise.results import Comparison, InitSpread, Setting


def figure(comparison: Comparison, anchor: str) -> Figure | None:
    return next((figure for figure in build(comparison).figures() if figure.id == anchor), None)


@pytest.fixture
def batches(comparison: Comparison, setting_of: Callable[..., Setting]) -> Comparison:
    sizes = (32, 2, 8)
    settings = [setting_of(f"mlp, batch {n}", ("none", "batch")) for n in sizes]
    changed = tuple(replace(s, batch_size=n) for s, n in zip(settings, sizes, strict=True))
    return replace(comparison, settings=changed, study="batch")


def test_batch_sizes_are_drawn_in_their_order(batches: Comparison) -> None:
    drawn = figure(batches, "across-batch")
    assert drawn is not None
    assert drawn.title == "Across batch sizes"
    panel = drawn.panels[0]
    assert panel.ticks == (2.0, 8.0, 32.0)
    series = next(series for series in panel.series if series.name == "batch")
    smallest = next(s for s in batches.settings if s.batch_size == 2).variants[1]
    tests = sorted(end.test or 0.0 for end in smallest.final)
    assert series.y[0] == tests[2]
    assert (series.low[0], series.high[0]) == (tests[1], tests[3])


def test_it_leads_the_section_of_the_final_metric(batches: Comparison) -> None:
    section = next(section for section in build(batches).sections if section.anchor == "final")
    assert isinstance(section.blocks[0], Figure)
    assert section.blocks[0].id == "across-batch"


def test_two_factors_at_once_are_not_mixed(batches: Comparison) -> None:
    first = replace(batches.settings[0], depth=4)
    rest = tuple(replace(setting, depth=8) for setting in batches.settings[1:])
    assert figure(replace(batches, settings=(first, *rest)), "across-batch") is None


def test_two_networks_have_a_panel_each(batches: Comparison) -> None:
    others = tuple(replace(s, name=s.name.replace("mlp", "cnn")) for s in batches.settings)
    drawn = figure(replace(batches, settings=(*batches.settings, *others)), "across-batch")
    assert drawn is not None
    assert [panel.title for panel in drawn.panels] == ["MLP", "CNN"]


def test_depths_and_shares_have_figures_too(batches: Comparison) -> None:
    alike = [replace(s, batch_size=64) for s in batches.settings]
    depths = tuple(replace(s, depth=d) for s, d in zip(alike, (2, 4, 8), strict=True))
    assert figure(replace(batches, settings=depths), "across-depths") is not None
    shares = tuple(replace(s, train_share=d) for s, d in zip(alike, (1.0, 0.25, 0.1), strict=True))
    drawn = figure(replace(batches, settings=shares), "across-shares")
    assert drawn is not None
    assert drawn.panels[0].ticks == (10.0, 25.0, 100.0)
    assert figure(replace(batches, settings=tuple(alike[:1])), "across-batch") is None


@pytest.fixture
def penalized(setting_of: Callable[..., Setting]) -> Setting:
    strengths: dict[str, dict[str, float]] = {
        "none": {},
        "none + L1 0.001": {"l1": 0.001},
        "none + L1 1e-05": {"l1": 1e-5},
        "none + L2 0.01": {"l2": 0.01},
        "none + dropout 0.2": {"dropout": 0.2},
        "none + dropout 0.5": {"dropout": 0.5},
        "batch + dropout 0.2": {"dropout": 0.2},
        "none + L1 0.001 + L2 0.01": {"l1": 0.001, "l2": 0.01},
    }
    setting = setting_of("mlp", tuple(strengths))
    variants = tuple(
        replace(v, penalties=strengths[v.name], sparsity=0.8 if v.name == "none + L1 0.001" else 0.0)
        for v in setting.variants
    )
    return replace(setting, variants=variants)


def test_penalties_are_curves_over_their_strength(comparison: Comparison, penalized: Setting) -> None:
    drawn = figure(replace(comparison, settings=(penalized,)), "s1-penalties")
    assert drawn is not None
    assert [panel.title for panel in drawn.panels] == [
        "Test over strength",
        "Train over strength",
        "Weights at zero",
        "Test over dropout rate",
        "Train over dropout rate",
    ]
    lines = {series.name: series for series in drawn.panels[0].series}
    assert lines["L1"].x == (1e-5, 0.001)
    assert lines["L2"].x == (0.01,)
    zeros = {series.name: series.y for series in drawn.panels[2].series}
    assert zeros["L1"] == (0.0, 80.0)
    assert [series.name for series in drawn.panels[3].series] == ["dropout"]
    assert drawn.panels[0].references[0].label == "none"


def test_a_lone_dropout_rate_has_no_panel(comparison: Comparison, penalized: Setting) -> None:
    kept = tuple(v for v in penalized.variants if v.name != "none + dropout 0.5")
    changed = replace(comparison, settings=(replace(penalized, variants=kept),))
    drawn = figure(changed, "s1-penalties")
    assert drawn is not None
    assert [panel.title for panel in drawn.panels] == [
        "Test over strength",
        "Train over strength",
        "Weights at zero",
    ]
    assert [entry.name for entry in drawn.legend] == ["L1", "L2"]


def test_one_initialization_has_no_figure(comparison: Comparison) -> None:
    setting = comparison.settings[0]
    variants = tuple(replace(v, initializations=v.initializations[:1]) for v in setting.variants)
    lone = replace(comparison, settings=(replace(setting, variants=variants),))
    assert figure(comparison, "s1-initialization") is not None
    assert figure(lone, "s1-initialization") is None
    robustness = next(section for section in build(lone).sections if section.anchor == "robustness")
    assert not [b for b in robustness.blocks if isinstance(b, Paragraph) and "not measured" in b.text]


def test_one_strength_is_no_curve(comparison: Comparison, penalized: Setting) -> None:
    kept = tuple(v for v in penalized.variants if v.name in ("none", "none + L2 0.01"))
    assert figure(replace(comparison, settings=(replace(penalized, variants=kept),)), "s1-penalties") is None


def test_sparsity_is_a_column_where_it_was_measured(comparison: Comparison, penalized: Setting) -> None:
    def columns(setting: Setting) -> Table:
        section = next(
            s for s in build(replace(comparison, settings=(setting,))).sections if s.anchor == "final"
        )
        tables = [block for block in section.blocks if isinstance(block, Table)]
        return next(table for table in tables if table.caption.startswith("Every variant"))

    table = columns(penalized)
    place = table.columns.index("weights at zero")
    assert table.rows[1][place] == "80.0%"
    assert "weights at zero" not in columns(comparison.settings[0]).columns


def test_many_initializations_stand_in_rows(
    comparison: Comparison, setting_of: Callable[..., Setting]
) -> None:
    names = ("he ×1", "he ×0.1", "he ×3", "xavier", "orthogonal", "lsuv")
    setting = setting_of("mlp", ("none", "batch"))
    spreads = tuple(InitSpread(name, (90.0, 91.0, None), None, int(i == 2)) for i, name in enumerate(names))
    changed = replace(setting, variants=tuple(replace(v, initializations=spreads) for v in setting.variants))
    whole = replace(comparison, settings=(changed,), study="init")
    drawn = figure(whole, "s1-initialization")
    assert drawn is not None
    assert [panel.title for panel in drawn.panels] == ["none", "batch"]
    assert drawn.panels[0].categories == names
    section = next(s for s in build(whole).sections if s.anchor == "robustness")
    table = next(b for b in section.blocks if isinstance(b, Table) and "each initialization" in b.caption)
    assert table.rows[2] == ("he ×3", "90.5% (1 diverged)", "90.5% (1 diverged)")


def test_references_stand_beside_the_networks(comparison: Comparison) -> None:
    drawn = figure(comparison, "s1-final")
    assert drawn is not None
    assert drawn.panels[0].categories[-2:] == ("linear", "gradient boosting")
    section = next(s for s in build(comparison).sections if s.anchor == "final")
    words = next(block for block in section.blocks if isinstance(block, Paragraph))
    assert words.text.startswith(
        "On the same splits, median test accuracy: the majority class gets 10.2%, a linear model 96.9% and gradient "
        "boosting 96.1%."
    )
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert [row[0] for row in table.rows] == ["majority class", "linear", "gradient boosting"]
