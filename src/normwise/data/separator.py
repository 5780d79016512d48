"""What separates the fields of a text table."""

from __future__ import annotations

import csv
import re
from collections import Counter
from itertools import islice

from normwise.data.text import lines_of

NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

_LINES = 200
_EXCEL = re.compile(rb"sep=(.)\r?\n")


def find_separator(data: bytes) -> tuple[str, int]:
    """Return the separator of a table in UTF-8, and how many lines precede its header (one: `sep=;`).

    The separator is the comma, semicolon, tab or bar that gives the first 200 records the most consistent
    number of fields, as many as the header has. Of equals, one that is not the comma wins, since commas occur
    inside of numbers and sentences; then the one with more fields.
    """
    said = _EXCEL.match(data)
    if said is not None and said[1].decode("latin-1") in NAMES:
        return said[1].decode("latin-1"), 1
    head = list(islice(lines_of(data), 5 * _LINES))
    scores = {separator: _score(head, separator) for separator in NAMES}
    best = max(scores, key=lambda separator: scores[separator])
    return (best, 0) if scores[best][0] > 0 else (",", 0)


def _score(lines: list[str], separator: str) -> tuple[float, bool, int]:
    """Share of records as long as the commonest one (0 if that or the header is one field), and the ties."""
    counts = []
    try:
        for fields in islice(csv.reader(lines, delimiter=separator), _LINES):
            if fields:
                counts.append(len(fields))
    except csv.Error:
        pass
    if not counts or counts[0] < 2:
        return 0.0, False, 0
    body = Counter(counts[1:] or counts)
    common, number = body.most_common(1)[0]
    # A header may be one short (row names of R) or one long (a separator at its end).
    if common < 2 or abs(common - counts[0]) > 1:
        number = body[counts[0]]
    return number / body.total(), separator != ",", counts[0]
