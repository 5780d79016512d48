"""Words that the notes and errors of this room share."""

from __future__ import annotations

import re
from collections.abc import Sequence

_DIGITS = re.compile(r"(\d+)")


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun.

    >>> count(1, "row"), count(1797, "row"), count(2, "class", "classes")
    ('1 row', '1,797 rows', '2 classes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listing(names: Sequence[str], limit: int = 5) -> str:
    """The first few names in quotes, then how many more there are.

    >>> listing(["a", "b"]), listing(list("abcdefgh"), limit=2)
    ("'a', 'b'", "'a', 'b' and 6 more")
    """
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that puts 2 before 10, wherever the number stands in the name.

    >>> sorted(["class 10", "class 2", "b", "7"], key=natural_key)
    ['7', 'b', 'class 2', 'class 10']
    """
    pieces = _DIGITS.split(name)
    # `isdecimal` rather than the position: a piece such as '²' is no number to int().
    key = tuple((0, int(p), "") if p.isdecimal() else (1, 0, p.casefold()) for p in pieces if p)
    return (*key, (2, 0, name))


def shape_words(shape: Sequence[int]) -> str:
    """A shape in words.

    >>> shape_words((28, 28))
    '28×28'
    """
    return "×".join(str(side) for side in shape)


def image_words(channels: int, height: int, width: int) -> str:
    """What images of a shape are called, width before height.

    >>> image_words(1, 8, 8), image_words(3, 32, 32), image_words(4, 5, 6)
    ('8×8 grey images', '32×32 colour images', '6×5 images of 4 channels')
    """
    size = shape_words((width, height))
    if channels == 1:
        return f"{size} grey images"
    return f"{size} colour images" if channels == 3 else f"{size} images of {channels} channels"
