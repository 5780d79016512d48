from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from normwise.report import build, to_terminal
from normwise.results import Comparison, Setting


def printed(
    comparison: Comparison,
    *,
    width: int = 80,
    color: bool = False,
    path: Path | None = None,
    claims: bool = False,
) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=color, no_color=not color, highlight=False)
    to_terminal(comparison, console, path=path, claims=claims)
    return stream.getvalue()


def test_it_fits_eighty_columns(comparison: Comparison) -> None:
    lines = printed(comparison).splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if line.startswith("instance ✗"))
    assert " ".join(row.split()) == "instance ✗ ≤ 0.70× ? ≥ 0.2 ? −1.9 ✓ +0.06 ✗ −1.8 ? +0.3 ✓ 1.32×"


def test_it_carries_what_the_first_screen_carries(comparison: Comparison) -> None:
    text = printed(comparison, width=400)
    for answer in build(comparison).answers:
        assert answer.sentence in text
    assert text.count("nn.BatchNorm1d(64)") == 4
    assert "The same for Keras is in the report." in text
    assert text.count(comparison.more_seeds.command) == 1  # type: ignore[union-attr]
    curve = next(line for line in text.splitlines() if line.startswith("batch") and "█" in line)
    assert len([sign for sign in curve if sign in "▁▂▃▄▅▆▇█×"]) == 26 + 5


def test_the_sign_of_divergence_stands_in_the_curve(comparison: Comparison) -> None:
    lines = printed(comparison).splitlines()
    assert next(line for line in lines if line.startswith("none ") and "█" in line).rstrip().endswith("×")


def test_claims_are_listed_only_on_demand(comparison: Comparison) -> None:
    assert "needs about 23 seeds" not in printed(comparison)


def test_a_first_look_has_no_verdict(comparison: Comparison) -> None:
    claims = tuple(replace(c, verdict="exploratory", strength="") for c in comparison.settings[0].claims)
    setting = replace(comparison.settings[0], claims=claims)
    text = printed(replace(comparison, settings=(setting,), exploratory=True))
    assert "~ 3.1×" in text
    assert not re.search(
        r"\b(yes|no|better|worse|undecided|leaning|recommended)\b",
        re.sub("no value|(higher|taller) is better", "", text),
    )


def test_nothing_at_all_is_said_so(comparison: Comparison) -> None:
    assert "Nothing was measured yet." in printed(
        replace(comparison, settings=(), references=(), more_seeds=None)
    )


def test_every_claim_is_told(comparison: Comparison) -> None:
    text = printed(comparison, claims=True)
    told = [line for line in text.splitlines() if line[:1] in ("✓", "✗", "?", "=", "–") and ": " in line]
    assert len(told) == sum(len(setting.claims) for setting in comparison.settings)
    assert "needs about 23 seeds" in text
    assert "MLP" in text
    assert "CNN" in text


@pytest.mark.parametrize("color", [True, False])
def test_color_only_where_wanted(color: bool, comparison: Comparison) -> None:
    assert ("\x1b[32m" in printed(comparison, color=color)) == color


def test_the_path_is_in_one_piece(comparison: Comparison) -> None:
    path = Path("/", *["folder"] * 20, "report.html")
    assert printed(comparison, path=path).rstrip().endswith(f"Report: {path}")


@pytest.mark.parametrize("width", [20, 40, 200])
def test_any_width_keeps_the_words(width: int, comparison: Comparison) -> None:
    lines = printed(comparison, width=width).splitlines()
    # Code and commands stay in one piece, so that they can be copied.
    assert max(len(line) for line in lines if not line.startswith("    ")) <= width
    assert "Batch Normalization trains" in " ".join(" ".join(lines).split())


def test_an_old_encoding_gets_other_signs(comparison: Comparison) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    to_terminal(comparison, Console(file=stream, width=80))
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "+ 3.1x" in text
    assert "x <= 0.70x" in text
    assert "7777" in text


def test_names_are_not_markup(comparison: Comparison, setting_of: Callable[..., Setting]) -> None:
    setting = setting_of("mlp", ("none", "[red]x[/red]"))
    assert "[red]x[/red]" in printed(replace(comparison, settings=(setting,)), width=120)


def test_warnings_come_before_the_answers(make: Callable[..., Comparison]) -> None:
    text = printed(make(partial=True, planned=200))
    assert text.index("Partial") < text.index("MLP")
