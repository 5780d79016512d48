"""The report without a format: what is said and drawn, as frozen data for every renderer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from normwise.report.figure import Figure, Panel

Tone = Literal["good", "bad", "neutral", "open", "none"]


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
class ScoreColumn:
    """One claim: its label, a short one where there is little room, the unit of all its numbers, and what is asked."""

    label: str
    short: str
    unit: str
    question: str


@dataclass(frozen=True)
class ScoreRow:
    """One variant: its name as given and in full, its slot in the figures (None if not drawn), its cells."""

    variant: str
    full: str
    slot: int | None
    recommended: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Scorecard:
    """Variants down, claims across; `baseline_values` are the baseline's own numbers, "" where unknown."""

    baseline: str
    baseline_slot: int | None
    baseline_values: tuple[str, ...]
    columns: tuple[ScoreColumn, ...]
    rows: tuple[ScoreRow, ...]
    key: str  # what the signs mean, and against what


@dataclass(frozen=True)
class Tab:
    """Code in one framework; `text` is "" where there is none, and the note says why."""

    name: str
    text: str
    note: str


@dataclass(frozen=True)
class Advice:
    """What to do: the recommended variant in words and as code."""

    title: str
    text: str
    tabs: tuple[Tab, ...]


@dataclass(frozen=True)
class More:
    """The command that decides what is undecided, and what it would decide."""

    title: str
    text: str
    command: str


@dataclass(frozen=True)
class Answer:
    """The head of one setting.

    Attributes:
        anchor: "s1", …
        setting: the setting's name in the record.
        name: the same as a heading.
        tab: the answer in a few words.
        network: what was trained, and how.
        sentence: the answer in one sentence.
        aside: whether something that is no network does better; "" otherwise.
        curves, rates: validation over training, and over learning rates; None where nothing was measured.
        advice, more: None where there is none.
    """

    anchor: str
    setting: str
    name: str
    tab: str
    network: str
    sentence: str
    aside: str
    scorecard: Scorecard
    curves: Panel | None
    rates: Panel | None
    advice: Advice | None
    more: More | None


@dataclass(frozen=True)
class Notice:
    """Something to know before any number is read; `label` says of which kind it is in one word."""

    label: str
    text: str
    tone: Literal["bad", "open"]


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
    folded: bool = False  # closed on a screen until it is asked for


@dataclass(frozen=True)
class Document:
    """The whole report: head, answers, sections."""

    title: str
    question: str
    data_line: str
    higher: bool  # whether a higher metric is better
    notices: tuple[Notice, ...]
    answers: tuple[Answer, ...]
    sections: tuple[Section, ...]
    footer: str

    def more(self) -> More | None:
        """Return what comes next after all answers: the first that has a command, else the first there is."""
        found = [answer.more for answer in self.answers if answer.more is not None]
        return next((more for more in found if more.command), found[0] if found else None)

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
