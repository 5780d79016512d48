"""What an operation changed in a model, module by module."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

EDITS_SCHEMA = 1
"""Raised whenever the meaning of a field changes."""

_MOST_NAMED = 12


@dataclass(frozen=True)
class Edit:
    """One place in a model: what stood there, what stands there now, and why.

    Attributes:
        name: the dotted path of the module; "" is the model itself.
        before: what stood there; "" where nothing did.
        after: what stands there now; "" where nothing does, and `before` where the place was left alone.
        why: the reason, for a change as for its absence.

    >>> name, before, after, why = Edit("norm", "nn.BatchNorm1d", "nw.BatchNorm1d", "the same operation")
    >>> before
    'nn.BatchNorm1d'
    """

    name: str
    before: str
    after: str
    why: str

    @property
    def changed(self) -> bool:
        """Whether something else stands there now."""
        return self.before != self.after

    def __iter__(self) -> Iterator[str]:
        return iter((self.name, self.before, self.after, self.why))


@dataclass(frozen=True, repr=False)
class Edits:
    """What an operation did to a model, in the order of its modules; printed as a table.

    Attributes:
        operation: the name of the function that made the edits.
        entries: one per place that was changed or looked at and left alone.
        notes: what holds for the model as a whole.
        schema: the version of this record.

    >>> print(Edits("accelerate", (Edit("1", "nn.BatchNorm1d", "nw.BatchNorm1d", "the same operation"),)))
    accelerate: 1 place changed, 0 left alone
    name  before          after           why
    1     nn.BatchNorm1d  nw.BatchNorm1d  the same operation
    """

    operation: str
    entries: tuple[Edit, ...]
    notes: tuple[str, ...] = ()
    schema: int = EDITS_SCHEMA

    @property
    def changed(self) -> tuple[Edit, ...]:
        """The places where something else stands now."""
        return tuple(entry for entry in self.entries if entry.changed)

    @property
    def left_alone(self) -> tuple[Edit, ...]:
        """The places that were looked at and left as they were."""
        return tuple(entry for entry in self.entries if not entry.changed)

    @property
    def reasons(self) -> str:
        """The places that were left alone, those with one reason together.

        >>> left = [Edit(name, "nn.Linear", "nn.Linear", "it is called 2 times") for name in ("0", "2")]
        >>> Edits("insert", tuple(left)).reasons
        '0, 2 (it is called 2 times)'
        """
        found: dict[str, list[str]] = {}
        for entry in self.left_alone:
            found.setdefault(entry.why, []).append(entry.name or "the model itself")
        return ", ".join(f"{named(names)} ({why})" for why, names in found.items())

    def __iter__(self) -> Iterator[Edit]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, name: str) -> Edit:
        """The edit of the module of that name.

        Raises:
            KeyError: there is none.
        """
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise KeyError(name)

    def __str__(self) -> str:
        count = len(self.changed)
        lines = [
            f"{self.operation}: {count} place{'' if count == 1 else 's'} changed, "
            f"{len(self.left_alone)} left alone"
        ]
        if self.entries:
            rows = [("name", "before", "after", "why"), *map(_cells, self.entries)]
            widths = [max(len(row[column]) for row in rows) for column in range(3)]
            for row in rows:
                padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
                lines.append("  ".join((*padded, row[3])).rstrip())
        lines.extend(f"note: {note}" for note in self.notes)
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)


def named(names: Sequence[str]) -> str:
    """Names in a sentence, the first few of many.

    >>> named([str(place) for place in range(20)])
    '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 8 more'
    """
    more = len(names) - _MOST_NAMED
    return f"{', '.join(names[:_MOST_NAMED])} and {more:,} more" if more > 1 else ", ".join(names)


def _cells(edit: Edit) -> tuple[str, str, str, str]:
    after = (edit.after or "nothing") if edit.changed else "left alone"
    return edit.name or "(the model)", edit.before or "nothing", after, edit.why
