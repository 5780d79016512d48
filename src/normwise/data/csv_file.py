"""Text tables: checked record by record, then read by polars as words."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normwise._optional import require
from normwise.data.separator import NAMES, find_separator
from normwise.data.text import lines_of, read_text
from normwise.data.wording import count, listing
from normwise.errors import DataError, explain

if TYPE_CHECKING:
    import polars

_INSIDE = re.compile(r"[\s，；、]")
"""What may separate the names of a header that came out as one."""

MOST_RAGGED = 100
"""At most so many records with too many or too few fields are left out, and at most one in a hundred."""


@dataclass
class _Walk:
    """What a walk over all records found."""

    names: list[str]
    header_lines: int = 0  # physical lines up to and with the header
    records: int = 0
    ragged: list[tuple[int, int]] = field(default_factory=list)  # first and last line of records to leave out
    blank: list[int] = field(default_factory=list)
    first_wrong: str = ""


def read_csv(path: Path) -> tuple[polars.DataFrame, str, tuple[str, ...]]:
    """Read a text table with a header line; return its fields as words, the separator, and notes.

    See `read_text` for encodings and `find_separator` for separators. Records with too many or too few fields
    are left out and named if they are few; empty ones are no rows.

    Raises:
        DataError: an empty file, an encoding that cannot be told, no header, repeated names, many records of
            different length, broken quotes.
    """
    pl = require("polars", extra="compare", who="reading a CSV file")
    data, notes = read_text(path)
    separator, skipped = find_separator(data)
    walk = _walk(path, data, separator, skipped)
    if len(walk.names) == 1 and _INSIDE.search(walk.names[0].strip()) and not walk.ragged:
        raise _not_separated(path, walk.names[0])
    if walk.ragged:
        notes = (_said_of_ragged(path, walk), *notes)
    frame = _parse(pl, path, data, separator, skipped, walk)
    rows = frame.height
    frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    if frame.height < rows:
        notes += (f"{count(rows - frame.height, 'row')} without any value dropped",)
    full = frame.height
    frame = _without_headers(frame, walk.names)
    if frame.height == 0:
        raise DataError(explain("load", f"{path} must have rows below its header", "the header alone"))
    if frame.height < full:
        gone = full - frame.height
        notes += (
            f"{count(gone, 'row')} that only {'repeats' if gone == 1 else 'repeat'} the header dropped",
        )
    if separator != ("\t" if ".tsv" in path.suffixes else ","):
        notes += (f"columns are separated by {NAMES[separator]}",)
    return frame, separator, notes


def _not_separated(path: Path, header: str) -> DataError:
    must = f"the fields of {path} must be separated by commas, semicolons, tabs or bars"
    wide = next((sign for sign in "，；、" if sign in header), None)
    hint = f"replace the full-width {wide} by a comma" if wide else "export the table as CSV"
    return DataError(explain("load", must, f"one column {header!r}", hint))


def _without_headers(frame: polars.DataFrame, names: list[str]) -> polars.DataFrame:
    """The rows that do not repeat the header, as those of tables pasted together do."""
    pl = require("polars", extra="compare", who="reading a CSV file")
    # The first column rules nearly all out.
    if not (frame.to_series(0).str.strip_chars() == names[0]).any():
        return frame
    same = pl.all_horizontal(pl.col(name).str.strip_chars() == name for name in names)
    return frame.filter(~same.fill_null(False))


def _walk(path: Path, data: bytes, separator: str, skipped: int) -> _Walk:
    found, last = _Walk(_names(path, _head(data, separator, skipped))), 0
    width = len(found.names)
    lines = lines_of(data)
    for _ in range(skipped):
        lines.readline()
    reader = csv.reader(lines, delimiter=separator, strict=True)
    try:
        for fields in reader:
            first, last = last + 1, reader.line_num
            if not fields:
                found.blank.append(last + skipped)
            elif not found.header_lines:
                found.header_lines = last + skipped
            elif len(fields) == width:
                found.records += 1
            else:
                found.ragged.append((first + skipped, last + skipped))
                if not found.first_wrong:
                    found.first_wrong = f"{count(len(fields), 'field')} in line {last + skipped:,}"
    except csv.Error as error:
        raise DataError(
            explain(
                "load",
                f"{path} must be a well-formed CSV file",
                f"in line {reader.line_num + skipped:,}: {error}",
                "check the quotes around that line",
            )
        ) from error
    return found


def _head(data: bytes, separator: str, skipped: int) -> list[list[str]]:
    """The first 1,000 records or so, the header among them; the walk says what is wrong with others."""
    lines = lines_of(data)
    for _ in range(skipped):
        lines.readline()
    records: list[list[str]] = []
    with contextlib.suppress(csv.Error):
        records.extend(filter(None, islice(csv.reader(lines, delimiter=separator), 1000)))
    return records


def _names(path: Path, head: list[list[str]]) -> list[str]:
    """The names of the columns, as many as the records have fields.

    They may have one more than the header, if each line ends in a separator or the header has no name for the
    names of the rows, and one less if the header alone ends in a separator.
    """
    if not head:
        return []
    names, body = [name.strip() for name in head[0]], head[1:]
    common, number = Counter(map(len, body)).most_common(1)[0] if body else (len(names), 0)
    if number > 1 and number >= 0.99 * len(body):
        if common == len(names) - 1 and not names[-1]:
            names = names[:-1]
        elif common == len(names) + 1 > 2:
            ended = all(not fields[-1].strip() for fields in body if len(fields) == common)
            names = [*names, ""] if ended else ["", *names]
    names = [name or f"column {index}" for index, name in enumerate(names, start=1)]
    _check_names(path, names)
    return names


def _check_names(path: Path, names: list[str]) -> None:
    repeated = [name for name, number in Counter(names).items() if number > 1]
    if all(_is_number(name) for name in names):
        got, hint = f"only numbers ({listing(names)})", "add a header line"
    elif repeated:
        got, hint = f"{listing(repeated)} more than once", "rename the columns"
    else:
        return
    raise DataError(explain("load", f"the first line of {path} must name its columns", got, hint))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _said_of_ragged(path: Path, walk: _Walk) -> str:
    total = walk.records + len(walk.ragged)
    if len(walk.ragged) > min(MOST_RAGGED, total / 100):
        more = "" if len(walk.ragged) == 1 else f", and {count(len(walk.ragged) - 1, 'more such line')}"
        raise DataError(
            explain(
                "load",
                f"every line of {path} must have as many fields as the header ({len(walk.names)})",
                f"{walk.first_wrong}{more}",
                "the header must be the first line; remove what stands above it"
                if 2 * len(walk.ragged) > total
                else "repair the line, or quote fields that contain the separator",
            )
        )
    numbers = [f"{first:,}" for first, _ in walk.ragged]
    which = ", ".join(numbers[:10]) + (f" and {len(numbers) - 10} more" if len(numbers) > 10 else "")
    said = count(len(numbers), "line")
    return (
        f"{said} with more or fewer fields than the header left out: line{'s' * (len(numbers) > 1)} {which}"
    )


def _parse(pl: Any, path: Path, data: bytes, separator: str, skipped: int, walk: _Walk) -> polars.DataFrame:
    above = skipped + 1
    if walk.ragged or walk.blank:
        data, above = _without(data, walk), 0
    frame = _polars_csv(pl, data, separator, walk.names, above)
    if frame is None or frame.height != walk.records:
        # Quotes in the middle of a field, which polars takes for the beginning of one.
        frame = _polars_csv(pl, _requoted(data, separator, above), separator, walk.names, 0)
    if frame is None or frame.height != walk.records:
        must = f"{path} must be a well-formed CSV file"
        raise DataError(explain("load", must, "quotes that can be read in two ways", "check its quotes"))
    return frame


def _polars_csv(pl: Any, data: bytes, separator: str, names: list[str], skip: int) -> polars.DataFrame | None:
    """Read records, all words; None if polars cannot."""
    try:
        frame: polars.DataFrame = pl.read_csv(
            data,
            separator=separator,
            has_header=False,
            skip_rows=skip,
            infer_schema=False,
            schema_overrides=[pl.String] * len(names),
        )
    except pl.exceptions.NoDataError:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))  # type: ignore[no-any-return]
    except pl.exceptions.PolarsError:
        return None
    if frame.width != len(names):
        return None
    frame.columns = names
    return frame


def _without(data: bytes, walk: _Walk) -> bytes:
    """The lines below the header, without blank and ragged ones."""
    gone = set(walk.blank)
    for first, last in walk.ragged:
        gone.update(range(first, last + 1))
    kept = (line for number, line in enumerate(lines_of(data), start=1) if number not in gone)
    for _ in range(walk.header_lines - sum(number <= walk.header_lines for number in gone)):
        next(kept)
    return b"".join(line.encode() for line in kept)


def _requoted(data: bytes, separator: str, skip: int) -> bytes:
    records = (fields for fields in csv.reader(lines_of(data), delimiter=separator) if fields)
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=separator, lineterminator="\n").writerows(islice(records, skip, None))
    return out.getvalue().encode()
