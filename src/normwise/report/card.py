"""The answer as one picture, to paste into a chat: sentence, scorecard, two figures, the command for the rest."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from normwise._optional import require
from normwise.report.build import build
from normwise.report.document import Answer, Document, Tone
from normwise.report.draw import Inks, draw
from normwise.report.figure import Panel
from normwise.report.fonts import families, named_drawably, safe
from normwise.report.names import clipped
from normwise.report.palette import SLOTS
from normwise.results import Comparison

_WIDTH, _HEIGHT, _DENSITY = 1280, 720, 2
_DPI = 72 * _DENSITY  # one point is one pixel of the card, drawn twice as dense
_EDGE = 40
_MIDDLE = 730  # where the scorecard ends and the figures begin
_ROWS = 9

_INKS = Inks("#1c1e22", "#676c75", "#e4e2dc", "#fffefb", tuple(slot.light for slot in SLOTS))
_ACCENT = "#14557b"
_TONES: dict[Tone, tuple[str, str]] = {
    "good": ("#0a6b4a", "#e0f1e8"),
    "bad": ("#a23b12", "#fae6dc"),
    "open": ("#6b5a10", "#f6f0d8"),
    "neutral": ("#3c4a63", "#e8ecf3"),
    "none": ("#676c75", "#fffefb"),
}


def to_png(comparison: Comparison) -> bytes:
    """Return the card of a comparison as a PNG of 2,560 × 1,440 pixels: its first setting, the others in a line each.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", extra="compare", who="the picture of the report")
    figures = require("matplotlib.figure", extra="compare", who="the picture of the report")
    document = build(named_drawably(comparison))
    style = {**_INKS.style(), "font.family": families(), "figure.dpi": _DPI}
    with matplotlib.rc_context(style), _silent_fonts():
        sheet = _Sheet(figures.Figure(figsize=(_WIDTH / 72, _HEIGHT / 72), dpi=_DPI, facecolor=_INKS.card))
        _draw(sheet, document)
        stream = io.BytesIO()
        sheet.figure.savefig(stream, format="png", dpi=_DPI, facecolor=_INKS.card)
    return stream.getvalue()


@contextmanager
def _silent_fonts() -> Iterator[None]:
    """Keep from the user that a family with Chinese signs has no bold face; it is drawn in its regular one."""
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class _Sheet:
    """A figure addressed in pixels from its upper left corner."""

    def __init__(self, figure: Any) -> None:
        self.figure = figure

    def text(self, x: float, y: float, content: str, size: float, **options: Any) -> Any:
        """Write one line whose top is at y."""
        options = {"color": _INKS.ink, "va": "top", "ha": "left", **options}
        return self.figure.text(x / _WIDTH, 1 - y / _HEIGHT, safe(content), fontsize=size, **options)

    def lines(
        self,
        x: float,
        y: float,
        content: str,
        size: float,
        width: float,
        *,
        most: int,
        gap: float = 1.36,
        **options: Any,
    ) -> float:
        """Write text in lines no wider than `width` and return where the next thing may begin."""
        for line in self.wrapped(safe(content), size, width, most, **options):
            self.text(x, y, line, size, **options)
            y += size * 1.36
        return y

    def wrapped(self, content: str, size: float, width: float, most: int, **options: Any) -> list[str]:
        """Return the lines of a text; what is left after the last one is cut."""
        lines: list[str] = []
        current = ""
        for word in content.split():
            longer = f"{current} {word}".strip()
            if current and self.width(longer, size, **options) > width:
                lines.append(current)
                current = word
            else:
                current = longer
            # Scripts without spaces, and paths, are one word that may be wider than the line.
            while self.width(current, size, **options) > width:
                cut = len(current) - 1
                while cut > 1 and self.width(current[:cut], size, **options) > width:
                    cut -= 1
                lines.append(current[:cut])
                current = current[cut:]
        lines.append(current)
        if len(lines) > most:
            last = lines[most - 1].rstrip()
            while last and self.width(f"{last} …", size, **options) > width:
                last = last[:-1].rstrip()
            lines = [*lines[: most - 1], f"{last} …"]
        return lines

    def width(self, content: str, size: float, **options: Any) -> float:
        """Return the width of one line in pixels."""
        probe = self.figure.text(
            0, 0, content, fontsize=size, **{k: v for k, v in options.items() if k != "color"}
        )
        box = probe.get_window_extent()
        probe.remove()
        return float(box.width) / _DENSITY

    def box(self, x: float, y: float, width: float, height: float, color: str) -> None:
        """Fill a rectangle with rounded corners."""
        patches = require("matplotlib.patches", extra="compare", who="the picture of the report")
        self.figure.add_artist(
            patches.FancyBboxPatch(
                (x, _HEIGHT - y - height),
                width,
                height,
                boxstyle="round,pad=0,rounding_size=4",
                linewidth=0,
                facecolor=color,
                transform=_pixels(self.figure),
            )
        )

    def axes(self, x: float, y: float, width: float, height: float) -> Any:
        """Return axes whose upper left corner is at (x, y)."""
        return self.figure.add_axes(
            (x / _WIDTH, 1 - (y + height) / _HEIGHT, width / _WIDTH, height / _HEIGHT), facecolor="none"
        )


def _pixels(figure: Any) -> Any:
    transforms = require("matplotlib.transforms", extra="compare", who="the picture of the report")
    return transforms.Affine2D().scale(1 / _WIDTH, 1 / _HEIGHT) + figure.transFigure


def _draw(sheet: _Sheet, document: Document) -> None:
    sheet.lines(_EDGE, 26, document.title, 13, _WIDTH - 2 * _EDGE, most=1, color=_ACCENT, weight="bold")
    sheet.lines(_EDGE, 47, document.data_line, 12, _WIDTH - 2 * _EDGE, most=1, color=_INKS.muted)
    y = 74.0
    for notice in document.notices[:2]:
        tone = _TONES["bad" if notice.tone == "bad" else "open"]
        sheet.box(_EDGE, y, _WIDTH - 2 * _EDGE, 22, tone[1])
        told = f"{notice.label}: {notice.text}"
        sheet.lines(_EDGE + 9, y + 4, told, 12, _WIDTH - 2 * _EDGE - 18, most=1, color=tone[0])
        y += 26
    if not document.answers:
        sheet.lines(_EDGE, y + 6, "Nothing was measured yet.", 22, _WIDTH - 2 * _EDGE, most=1)
        return
    answer = document.answers[0]
    y = sheet.lines(_EDGE, y + 8, answer.sentence, 20, _WIDTH - 2 * _EDGE, most=4)
    if answer.aside:
        y = sheet.lines(_EDGE, y + 2, answer.aside, 14, _WIDTH - 2 * _EDGE, most=1, color=_TONES["bad"][0])
    y = sheet.lines(_EDGE, y + 2, answer.network, 12, _WIDTH - 2 * _EDGE, most=1, color=_INKS.muted) + 16
    foot = _foot(sheet, document)
    # A few variants get taller rows, so that the card is filled.
    pitch = min(42.0, max(30.0, (foot - y - 190) / max(1, len(answer.scorecard.rows))))
    if answer.advice is not None:
        told = f"{answer.advice.title}: {answer.advice.text}"
        lines = len(sheet.wrapped(safe(told), 13, _MIDDLE - _EDGE - 20, 3))
        place = min(foot - 22 - 18 * lines, y + 118 + pitch * len(answer.scorecard.rows))
        sheet.lines(_EDGE, place, told, 13, _MIDDLE - _EDGE - 20, most=3)
        bottom = place
    else:
        bottom = foot
    if answer.scorecard.rows:
        _scorecard(sheet, answer, y, bottom - 14, pitch)
    _figures(sheet, answer, y, foot - 14)


def _foot(sheet: _Sheet, document: Document) -> float:
    """Write the command and the other settings at the bottom and return where they begin."""
    others = [f"{other.name}: {other.tab}" for other in document.answers[1:4]]
    more = document.more()
    more = more if more is not None and more.command else None
    y = _HEIGHT - 26.0 - 20 * bool(others) - 46 * (more is not None)
    top = y
    if more is not None:
        sheet.lines(_EDGE, y, more.text, 12, _WIDTH - 2 * _EDGE, most=1, color=_INKS.muted)
        sheet.box(_EDGE, y + 18, _WIDTH - 2 * _EDGE, 24, "#f1efe9")
        sheet.lines(
            _EDGE + 9,
            y + 23,
            more.command,
            12,
            _WIDTH - 2 * _EDGE - 18,
            most=1,
            family=["DejaVu Sans Mono", *families()],
        )
        y += 50
    if others:
        sheet.lines(_EDGE, y, "   ·   ".join(others), 12, _WIDTH - 2 * _EDGE, most=1)
    return top


def _scorecard(sheet: _Sheet, answer: Answer, top: float, bottom: float, pitch: float) -> None:
    card = answer.scorecard
    left = _EDGE + 118.0
    wide = (_MIDDLE - 20 - left) / max(1, len(card.columns))
    for i, column in enumerate(card.columns):
        center = left + (i + 0.5) * wide
        head = sheet.wrapped(column.label, 10.5, wide - 4, 3, weight="bold")
        for k, line in enumerate(head):
            y = top + 13 * (3 - len(head) + k)
            sheet.text(center, y, line, 10.5, ha="center", weight="bold")
        unit = column.unit.replace("decades per layer", "dec. per layer")
        sheet.text(center, top + 41, unit, 10, ha="center", color=_INKS.muted)
    y = top + 60
    _row_name(sheet, card.baseline, card.baseline_slot, y, bold=False)
    for i, value in enumerate(card.baseline_values):
        sheet.text(left + (i + 0.5) * wide, y + 2, value or "–", 11, ha="center", color=_INKS.muted)
    y += 24
    room = max(0, int((bottom - y - 20) // pitch))
    rows = card.rows[: min(_ROWS, room)]
    for row in rows:
        middle = (pitch - 2) / 2
        _row_name(sheet, row.variant, row.slot, y + middle - 9, bold=row.recommended)
        for i, cell in enumerate(row.cells):
            ink, ground = _TONES[cell.tone]
            sheet.box(left + i * wide + 1, y, wide - 2, pitch - 2, ground)
            text = f"{cell.glyph} {cell.number}".strip()
            at = left + (i + 0.5) * wide
            sheet.text(at, y + middle - 6, text, 11.5, ha="center", color=ink, weight="bold")
        y += pitch
    rest = len(card.rows) - len(rows)
    more = f"; {rest} more in the report" if rest else ""
    sheet.lines(_EDGE, y + 5, card.key + more, 10.5, _MIDDLE - _EDGE - 20, most=1, color=_INKS.muted)


def _row_name(sheet: _Sheet, name: str, slot: int | None, y: float, *, bold: bool) -> None:
    if slot is not None:
        sheet.box(_EDGE, y + 4, 14, 7, _INKS.of(slot))
    weight = "bold" if bold else "normal"
    sheet.text(_EDGE + 20, y + 1, clipped(name, 14), 12, weight=weight)


def _figures(sheet: _Sheet, answer: Answer, top: float, bottom: float) -> None:
    panels: Sequence[Panel] = [panel for panel in (answer.curves, answer.rates) if panel is not None]
    height = max(60.0, min(340.0, bottom - top - 70))
    wide = (_WIDTH - _EDGE - _MIDDLE - 30) / 2
    for i, panel in enumerate(panels):
        x = _MIDDLE + i * (wide + 30)
        sheet.lines(x, top, panel.title, 11, wide, most=1, weight="bold")
        draw(sheet.axes(x + 34, top + 26, wide - 38, height), panel, _INKS)
