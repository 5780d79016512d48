"""CSV and TSV files: checked line by line, then read by polars as words, then typed column by column."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normwise._optional import require
from normwise.data.columns import typed
from normwise.data.wording import count, listing
from normwise.errors import DataError, explain

if TYPE_CHECKING:
    import polars

_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")


def read_csv(path: Path) -> tuple[polars.DataFrame, tuple[str, ...]]:
    """Read a CSV or TSV file with a header line; return the typed frame and notes.

    The separator is a tab for .tsv; else a comma, or the semicolon, tab or bar that the header has instead.
    Numbers with a decimal comma are understood after semicolons. The text is UTF-8.

    Raises:
        DataError: an empty file, no UTF-8, no header, repeated names, lines of different length, broken
            quotes.
    """
    pl = require("polars", extra="compare", who="reading a CSV file")
    text = _decoded(path)
    header_line = text.lstrip("\r\n").split("\n", 1)[0]
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    notes: list[str] = []
    if separator == "," and "," not in header_line:
        other = next((character for character in _OTHER_SEPARATORS if character in header_line), None)
        if other is not None:
            separator = other
            notes.append(f"columns are separated by {_OTHER_SEPARATORS[other]}")
    names = _checked_header(path, text, separator)
    frame = _parse(pl, path, text, separator, names)
    # A blank line is no row.
    frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    if frame.height == 0:
        raise DataError(explain("load", f"{path} must have rows below its header", "the header alone"))
    if separator == ";":
        frame = frame.with_columns(_with_points(pl, series) for series in frame.get_columns())
    return frame.with_columns(typed(series) for series in frame.get_columns()), tuple(notes)


def _decoded(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            explain(
                "load",
                f"{path} must be text in UTF-8",
                f"byte {error.object[error.start]:#04x} at position {error.start:,}",
                "save it as UTF-8",
            )
        ) from error
    if "\0" in text:
        raise DataError(explain("load", f"{path} must be text", "a zero byte", "save it as UTF-8 text"))
    if "\n" not in text:
        # Line ends of old Macintosh exports, which polars takes for one long header.
        text = text.replace("\r", "\n")
    if not text.strip():
        raise DataError(explain("load", f"{path} must have a header line and rows", "an empty file"))
    return text


def _checked_header(path: Path, text: str, separator: str) -> list[str]:
    """Walk all lines, so that a ragged one is named by its number, and return the column names."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    names: list[str] = []
    try:
        for fields in reader:
            if not fields:
                continue
            if not names:
                names = [name.strip() or f"column {index}" for index, name in enumerate(fields, start=1)]
                _check_names(path, names)
            elif len(fields) != len(names):
                raise DataError(
                    explain(
                        "load",
                        f"every line of {path} must have as many fields as the header ({len(names)})",
                        f"{count(len(fields), 'field')} in line {reader.line_num}",
                        "repair the line, or quote fields that contain the separator",
                    )
                )
    except csv.Error as error:
        raise DataError(
            explain(
                "load",
                f"{path} must be a well-formed CSV file",
                f"in line {reader.line_num}: {error}",
                "check the quotes around that line",
            )
        ) from error
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


def _parse(pl: Any, path: Path, text: str, separator: str, names: list[str]) -> polars.DataFrame:
    try:
        frame: polars.DataFrame = pl.read_csv(
            io.BytesIO(text.lstrip("\r\n").encode()),
            separator=separator,
            infer_schema=False,
            new_columns=names,
        )
    except pl.exceptions.PolarsError as error:
        raise DataError(
            explain(
                "load",
                f"{path} must be a well-formed CSV file",
                str(error).splitlines()[0],
                "check its quotes",
            )
        ) from error
    return frame


def _with_points(pl: Any, series: polars.Series) -> polars.Series:
    words = series.str.strip_chars()
    present = words.drop_nulls().filter(words.drop_nulls() != "")
    numeric = present.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False).null_count() == 0
    comma = any(_DECIMAL_COMMA.fullmatch(word) for word in present)
    return words.str.replace(",", ".", literal=True) if numeric and comma else series
