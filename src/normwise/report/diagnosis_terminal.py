"""A diagnosis on a terminal: its lines with colors."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from normwise.results.diagnosis import Diagnosis
from normwise.results.diagnosis_text import Line, Role, lines

_STYLES: dict[Role, str] = {
    "plain": "",
    "strong": "bold",
    "bad": "bold red",
    "good": "green",
    "muted": "dim",
    "layer": "cyan",
    "code": "magenta",
}
# For terminals whose encoding lacks these signs; a bar becomes its height from 1 to 8.
_ASCII = str.maketrans("×→–−σµ≥≤·└▁▂▃▄▅▆▇█", "x>--su><.+12345678")


def diagnosis_to_terminal(diagnosis: Diagnosis, console: Console, *, verbose: bool = False) -> None:
    """Print a diagnosis; the console's width, color and encoding are respected.

    Args:
        diagnosis: the answer.
        console: where to.
        verbose: name every rule that was asked.
    """
    for line in lines(diagnosis, verbose=verbose):
        _print(line, console)


def _print(line: Line, console: Console) -> None:
    whole = Text()
    for words, role in line.spans:
        whole.append(_writable(words, console), _STYLES[role])
    pad = Text(" " * line.indent)
    if line.whole:  # what is broken cannot be copied
        console.print(pad + whole, soft_wrap=True)
        return
    room = max(20, console.width - line.indent)
    rows = list(whole.wrap(console, room))[:1]
    rest = whole[len(rows[0].plain) :] if rows else Text()
    rest = rest[len(rest.plain) - len(rest.plain.lstrip()) :]
    rows += rest.wrap(console, max(20, room - line.hang)) if rest.plain else []
    for i, row in enumerate(rows or [whole]):
        row.rstrip()
        console.print(pad + " " * (line.hang * (i > 0)) + row, soft_wrap=True)


def _writable(words: str, console: Console) -> str:
    try:
        words.encode(console.encoding)
    except UnicodeEncodeError:
        return words.translate(_ASCII).encode(console.encoding, "replace").decode(console.encoding)
    return words
