"""The report without a format: what is said and drawn, as frozen data for every renderer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Number = float | None
Mark = Literal["line", "dots", "range", "link", "tick", "theory"]
"""What a series looks like.

line: joined points, with a band where `low` and `high` are given. dots: one per seed. range: a point
with a bar from `low` to `high`. link: a thin line that joins one seed. tick: a median. theory: a labelled
line that was not measured.
"""

Scale = Literal["linear", "log"]
Size = Literal["half", "small"]
Tone = Literal["good", "bad", "neutral", "open", "none"]


@dataclass(frozen=True)
class Series:
    """Numbers of one curve or cloud; `slot` selects color, dash and marker, −1 the neutral ink."""

    name: str
    slot: int
    mark: Mark
    x: tuple[Number, ...]
    y: tuple[Number, ...]
    low: tuple[Number, ...] = ()
    high: tuple[Number, ...] = ()
    hollow: bool = False


@dataclass(frozen=True)
class Reference:
    """A labelled straight line at a fixed value of y."""

    value: float
    label: str


@dataclass(frozen=True)
class Panel:
    """One pair of axes; with `categories` the x values are indices into them, drawn from top to bottom."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    categories: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    from_zero: bool = False
    limits: tuple[float, float] | None = None
    size: Size = "half"


@dataclass(frozen=True)
class LegendEntry:
    """A name and its slot; the same name has the same slot in every figure of a setting."""

    name: str
    slot: int


@dataclass(frozen=True)
class Figure:
    """Panels under one caption that says in words what they show."""

    id: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    legend: tuple[LegendEntry, ...] = ()
    note: str = ""
    kind: Literal["figure"] = "figure"


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str
    tone: Literal["plain", "note", "warning"] = "plain"
    kind: Literal["paragraph"] = "paragraph"


@dataclass(frozen=True)
class Table:
    """Text in cells; `numeric` says which columns align as numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...] = ()
    collapsed: bool = False
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Code:
    """Text to copy."""

    caption: str
    text: str
    collapsed: bool = False
    kind: Literal["code"] = "code"


@dataclass(frozen=True)
class ClaimLine:
    """One claim about one variant, in words."""

    setting: str
    claim: str
    variant: str
    verdict: str
    strength: str
    glyph: str
    tone: Tone
    text: str
    brief: str


@dataclass(frozen=True)
class ClaimGroup:
    """All lines about one claim."""

    label: str
    question: str
    lines: tuple[ClaimLine, ...]


@dataclass(frozen=True)
class ClaimList:
    """The claims of one setting, in words."""

    groups: tuple[ClaimGroup, ...]
    kind: Literal["claims"] = "claims"


@dataclass(frozen=True)
class Cell:
    """One verdict at a glance: sign, word and number, so that none of them is needed alone."""

    glyph: str
    word: str
    number: str
    tone: Tone
    detail: str


@dataclass(frozen=True)
class ScorecardRow:
    """One claim across the variants; `short` is its label where there is little room."""

    label: str
    short: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Scorecard:
    """Claims down, variants across."""

    baseline: str
    variants: tuple[str, ...]
    rows: tuple[ScorecardRow, ...]


@dataclass(frozen=True)
class Answer:
    """The head of one setting: its name, what the network is, the answer in sentences, and the scorecard."""

    anchor: str
    setting: str
    name: str
    network: str
    sentences: tuple[str, ...]
    scorecard: Scorecard


@dataclass(frozen=True)
class Erratum:
    """A sentence of the popular articles that is wrong, and what is right."""

    sentence: str
    right: str
    formula: str
    measured: str


@dataclass(frozen=True)
class ErrataList:
    """Errata in order of their practical weight."""

    items: tuple[Erratum, ...]
    kind: Literal["errata"] = "errata"


Block = Paragraph | Table | Code | ClaimList | Figure | ErrataList


@dataclass(frozen=True)
class Section:
    """Blocks under a title."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]
    sections: tuple[Section, ...] = ()


@dataclass(frozen=True)
class Document:
    """The whole report: head, answers, sections."""

    title: str
    question: str
    data_line: str
    warnings: tuple[str, ...]
    answers: tuple[Answer, ...]
    sections: tuple[Section, ...]
    footer: str

    def figures(self) -> tuple[Figure, ...]:
        """Return every figure, in reading order."""
        return tuple(block for block in self._blocks() if isinstance(block, Figure))

    def claim_lines(self) -> tuple[ClaimLine, ...]:
        """Return every claim line, in reading order."""
        lists = (block for block in self._blocks() if isinstance(block, ClaimList))
        return tuple(line for claims in lists for group in claims.groups for line in group.lines)

    def _blocks(self) -> list[Block]:
        blocks: list[Block] = []
        waiting = list(reversed(self.sections))
        while waiting:
            section = waiting.pop()
            blocks.extend(section.blocks)
            waiting.extend(reversed(section.sections))
        return blocks
