"""The answer as GitHub Markdown: sentences, scorecards, code, references, the command for the rest, data and trust."""

from __future__ import annotations

import re
from collections.abc import Sequence

from normwise.report.build import build
from normwise.report.document import (
    Advice,
    Answer,
    Block,
    Code,
    Document,
    Paragraph,
    Scorecard,
    Section,
    Table,
)
from normwise.results import Comparison

_BACKTICKS = re.compile(r"`+")


def to_markdown(source: Document | Comparison) -> str:
    """Return the report as Markdown.

    Args:
        source: a comparison, or the document that `build` made of one.
    """
    document = build(source) if isinstance(source, Comparison) else source
    parts = [f"# {_plain(document.title)}", _plain(document.question), _plain(document.data_line)]
    parts += [f"> **{notice.label}** {_plain(notice.text)}" for notice in document.notices]
    for answer in document.answers:
        parts += _answer(answer, several=len(document.answers) > 1)
    if not document.answers:
        parts.append("Nothing was measured yet.")
    more = document.more()
    if more is not None:
        parts += [f"## {more.title}", _plain(more.text)]
        parts += [_fenced(more.command, "console")] if more.command else []
    for section in document.sections:
        if section.anchor in ("trust", "final", "reproduce"):
            parts += _section(section)
    parts.append(f"<sub>{_plain(document.footer)}</sub>")
    return "\n\n".join(part for part in parts if part) + "\n"


def _answer(answer: Answer, *, several: bool) -> list[str]:
    parts = [f"## {_plain(answer.name)}"] if several else []
    parts += [f"**{_plain(answer.sentence)}**", _plain(answer.aside), _plain(answer.network)]
    if answer.scorecard.rows:
        parts += [_scorecard(answer.scorecard), _plain(answer.scorecard.key)]
    if answer.advice is not None:
        parts += _advice(answer.advice, "###" if several else "##")
    return parts


def _scorecard(card: Scorecard) -> str:
    heads = ["Variant", *(f"{c.label} ({c.unit})" if c.unit else c.label for c in card.columns)]
    rows = [[f"{card.baseline} (baseline)", *(value or "–" for value in card.baseline_values)]]
    for row in card.rows:
        cells = [f"{cell.glyph} {cell.number} {cell.word}".replace("  ", " ") for cell in row.cells]
        rows.append([f"{row.variant} (recommended)" if row.recommended else row.variant, *cells])
    return _table(heads, rows, [False, *(True,) * len(card.columns)])


def _advice(advice: Advice, level: str) -> list[str]:
    parts = [f"{level} {advice.title}", _plain(advice.text)]
    for tab in advice.tabs:
        parts.append(f"{tab.name}:")
        parts += [_fenced(tab.text, "python")] if tab.text else []
        parts += [_plain(tab.note)] if tab.note else []
    return parts


def _section(section: Section) -> list[str]:
    blocks = [part for block in section.blocks for part in _block(block)]
    inner = [
        [f"### {_plain(part.title)}", *(text for block in part.blocks for text in _block(block))]
        for part in section.sections
    ]
    below = [text for texts in inner if len(texts) > 1 for text in texts]
    return [f"## {_plain(section.title)}", *blocks, *below] if blocks or below else []


def _block(block: Block) -> list[str]:
    """Write what can stand in text; figures and folded tables stay with the page."""
    if isinstance(block, Paragraph):
        return [f"> {_plain(block.text)}" if block.tone == "warning" else _plain(block.text)]
    if isinstance(block, Code) and not block.collapsed:
        return [f"{_plain(block.caption)}:", _fenced(block.text, "console")]
    if isinstance(block, Table) and not block.collapsed:
        numeric = list(block.numeric) or [False] * len(block.columns)
        return [_plain(block.caption), _table(block.columns, block.rows, numeric)]
    return []


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> str:
    lines = [heads, ["---:" if right else "---" for right in numeric], *rows]
    return "\n".join(
        f"| {' | '.join(text if i == 1 else _plain(text) for text in line)} |" for i, line in enumerate(lines)
    )


def _plain(text: str) -> str:
    """Escape what Markdown or HTML would read as more than text, and keep it on one line."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", text)


def _fenced(text: str, language: str) -> str:
    """Put code into a fence that is longer than any in it."""
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
