from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from normwise.report import to_terminal
from normwise.results import Comparison, Setting


def printed(comparison: Comparison, *, width: int = 80, color: bool = False, path: Path | None = None) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=color, no_color=not color, highlight=False)
    to_terminal(comparison, console, path=path)
    return stream.getvalue()


def test_it_fits_eighty_columns(comparison: Comparison) -> None:
    lines = printed(comparison).splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if line.startswith("instance ✗"))
    assert " ".join(row.split()) == "instance ✗ ≤ 0.70× ? ≥ 0.2 ? −1.9 ✓ +0.06 ✗ −1.8 ? +0.3 ✓ 1.32×"


def test_every_claim_is_told(comparison: Comparison) -> None:
    text = printed(comparison)
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
    assert max(map(len, lines)) <= width
    assert "Converges faster" in " ".join(lines)


def test_an_old_encoding_gets_other_signs(comparison: Comparison) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    to_terminal(comparison, Console(file=stream, width=80))
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "+ 3.1x" in text
    assert "x <= 0.70x" in text


def test_names_are_not_markup(comparison: Comparison, setting_of: Callable[..., Setting]) -> None:
    setting = setting_of("mlp", ("none", "[red]x[/red]"))
    assert "[red]x[/red]" in printed(replace(comparison, settings=(setting,)), width=120)


def test_warnings_come_before_the_answers(make: Callable[..., Comparison]) -> None:
    text = printed(make(partial=True, planned=200))
    assert text.index("partial result") < text.index("MLP")
