"""What is said of an exception in somebody else's code: one line, with the place in that code."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

from normwise.errors import ArgumentError

_LONGEST = 240
_OURS = Path(__file__).resolve().parents[1]
_LIBRARIES = {"site-packages", "dist-packages"}


class UserCodeError(ArgumentError):
    """An exception of the user's own code, explained.

    Attributes:
        words: type, message and place of that exception.
    """

    def __init__(self, message: str, words: str = "") -> None:
        super().__init__(message)
        self.words = words


def one_line(text: str, limit: int = _LONGEST) -> str:
    """The text on one line, without the full stop at its end, cut where it gets too long.

    >>> one_line("size mismatch:\\n\\t(3) and (4).")
    'size mismatch: (3) and (4)'
    """
    line = " ".join(text.split())
    return (line if len(line) <= limit else line[: limit - 1] + "…").rstrip(".")


def is_local(file: Path, roots: Iterable[Path]) -> bool:
    """Whether a file lies in one of the folders, and is neither of an installed package nor of normwise."""
    if _LIBRARIES.intersection(file.parts) or file.is_relative_to(_OURS):
        return False
    return any(file.is_relative_to(root) for root in roots)


def place_of(error: BaseException, roots: Sequence[Path]) -> str | None:
    """Where in the user's code an exception came from, as "net.py:12": the innermost such line."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if is_local(file, roots):
            root = next(root for root in roots if file.is_relative_to(root))
            return f"{file.relative_to(root)}:{frame.lineno}"
    return None


def exception_words(error: BaseException, roots: Sequence[Path]) -> str:
    """Type, message and place of an exception.

    >>> exception_words(ValueError("no such width"), [])
    'ValueError: no such width'
    """
    message = one_line(str(error))
    words = type(error).__name__ + (f": {message}" if message else "")
    place = place_of(error, roots)
    return words if place is None else f"{words} ({place})"


def listed(items: Sequence[str]) -> str:
    """The items as a sentence lists them.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
