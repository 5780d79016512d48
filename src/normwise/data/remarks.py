"""What is to be said of the columns of a table: gathered by kind, so that 300 columns make a few sentences."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

MOST_NAMED = 5

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "time": "inputs taken from the column that orders the rows",
        "only time": "no input, as it orders the rows",
        "identifier": "dropped as identifiers",
        "repeating": "dropped as identifiers that repeat (`group` would keep their rows together)",
        "counter": "dropped, as they only count the rows",
        "text": "dropped as free text",
        "constant": "dropped as constant",
        "empty": "dropped without any value",
        "type": "dropped, as their type has no meaning here",
        "code": "kept as a number, though it looks like a code for missing values (leave such fields empty)",
        "strangers": "read as words although mostly numbers",
        "unknown": "words among numbers or dates became missing values",
        "date": "read as dates, in days since 1970-01-01",
        "date order": "dates in numbers alone taken as",
        "clock": "read as times of day, in hours",
        "boolean": "read as yes or no",
        "decimal commas": "decimal commas understood",
        "thousands separators": "thousands separators taken out",
        "percent signs": "percent signs taken off",
        "currency signs": "currency signs taken off",
        "units": "units taken off",
        "magnitudes": "thousands, millions and their like multiplied out",
        "limits": "limits taken as their number",
        "full width": "full-width digits and signs read as plain ones",
    }
)
"""Kinds of remarks, the most important first, and what they begin with."""


class Remarks:
    """Remarks on columns.

    >>> remarks = Remarks()
    >>> remarks.add("constant", "a")
    >>> remarks.add("identifier", "uuid", "1,000 different values")
    >>> remarks.add("constant", "b")
    >>> remarks.sentences()
    ("dropped as identifiers: 'uuid' (1,000 different values)", "dropped as constant: 'a', 'b'")
    """

    def __init__(self) -> None:
        self._items: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}

    def add(self, kind: str, name: str, detail: str = "") -> None:
        """Remember that a column is of a kind."""
        self._items[kind][name] = f"{name!r} ({detail})" if detail else repr(name)

    def forget(self, kind: str, name: str) -> None:
        """Take a remark back, if there is one."""
        self._items[kind].pop(name, None)

    def sentences(self) -> tuple[str, ...]:
        """One sentence a kind, naming at most five columns."""
        return tuple(
            f"{KINDS[kind]}: {_few([*items.values()])}" for kind, items in self._items.items() if items
        )


def _few(items: list[str]) -> str:
    shown = ", ".join(items[:MOST_NAMED])
    return shown if len(items) <= MOST_NAMED else f"{shown} and {len(items) - MOST_NAMED:,} more"
