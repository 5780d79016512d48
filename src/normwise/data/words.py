"""A column of words and what it holds: numbers, booleans, dates, times of day, or words indeed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from normwise._optional import require
from normwise.data.dates import read_clock, read_dates
from normwise.data.numerals import groups_with_points, read_numerals
from normwise.data.remarks import Remarks
from normwise.data.units import read_measured
from normwise.data.wording import count

if TYPE_CHECKING:
    import polars

MISSING = ("", "na", "n/a", "nan", "null", "?", "#n/a", "<na>", "nat", "-nan", "n.a.")
"""Missing in any column, in lower case."""

UNKNOWN = (
    *("none", "-", "--", "---", ".", "..", "*", "/", "—", "–", "−", "x", "nil", "unknown", "unk", "missing"),
    *("not available", "not known", "undefined", "tbd", "n.d.", "nd", "n/d", "k.a.", "k. a.", "keine angabe"),
    *("unbekannt", "inconnu", "desconocido", "sin dato", "未知", "不详", "不明", "未填", "未填写", "缺失", "无"),
    *("空", "暂无", "不清楚"),
    *("#value!", "#div/0!", "#ref!", "#name?", "#num!", "#null!", "0000-00-00", "0000-00-00 00:00:00"),
)  # fmt: skip
"""Missing where all else is numbers or dates, in lower case."""

_BOOLEANS = (
    ("true", "false"), ("yes", "no"), ("y", "n"), ("t", "f"), ("是", "否"), ("真", "假"), ("有", "无"),
    ("on", "off"), ("ja", "nein"), ("oui", "non"), ("si", "no"), ("sí", "no"), ("sim", "não"), ("да", "нет"),
)  # fmt: skip

_FULL_WIDTH = {chr(code + 0xFEE0): chr(code) for code in (*range(0x30, 0x3A), *map(ord, ",.-+%/:()<>?~$"))}
"""Digits and signs as East Asian input methods write them, and as everybody else does."""

_FEW_CLASSES = 20

MOST_STRANGERS = 0.05
"""Up to this share of a column of numbers may be words of at most five kinds, which then are missing."""


def stripped(series: polars.Series) -> polars.Series:
    """Words without blanks around them, null where they say that nothing is known."""
    words = series.str.strip_chars()
    # Only short words can be among the missing ones; lower case of all would be a copy of the column.
    short = words.str.len_bytes() <= max(len(word) for word in MISSING)
    lower = words.set(~short, None).str.to_lowercase()
    return words.set(lower.is_in(MISSING).fill_null(False), None)


def typed(
    series: polars.Series, remarks: Remarks, *, comma: bool = False, booleans: bool = True
) -> polars.Series:
    """Give a column of words its type: Float64, Boolean, Datetime, Time, or words stripped of blanks.

    Empty fields, NA, N/A, NaN, null and ? are missing everywhere; among numbers and dates also none, -, a lone
    dot, unknown, 未知 and their like, and up to five other words if they are at most one value in twenty.
    Full-width digits and signs are read as plain ones; what stays words keeps them.

    Args:
        series: the column.
        remarks: gets what is worth a note.
        comma: whether the table writes decimal commas.
        booleans: whether yes and no become true and false; a target keeps them as the names of its classes.
    """
    wide = series.str.contains("[" + "".join(_FULL_WIDTH) + "]").fill_null(False)
    if not wide.any():
        return _typed(stripped(series), remarks, comma, booleans)
    plain = stripped(series.str.replace_many(list(_FULL_WIDTH), list(_FULL_WIDTH.values())))
    found = _typed(plain, remarks, comma, booleans)
    if found.dtype == _polars().String:
        return stripped(series)
    remarks.add("full width", series.name, count(int(wide.sum()), "value"))
    return found


def _typed(words: polars.Series, remarks: Remarks, comma: bool, booleans: bool) -> polars.Series:
    pl = _polars()
    present = words.drop_nulls()
    if not len(present):
        return words
    numbers = words.cast(pl.Float64, strict=False)
    grouped = comma and groups_with_points(words)
    if numbers.null_count() == words.null_count() and not grouped:
        return numbers.fill_nan(None)
    flags = _boolean(words)
    if flags is not None and (booleans or flags[1] == "true/false"):
        if booleans:
            remarks.add("boolean", words.name, flags[1])
        return flags[0]
    strangers = words.filter(numbers.is_null() & words.is_not_null()) if not grouped else present
    known = words.str.to_lowercase().is_in(UNKNOWN).fill_null(False)
    kept = words.set(known, None)
    if kept.null_count() == len(kept):
        return words
    if not grouped and len(strangers) == int(known.sum()):
        found: polars.Series | None = numbers.fill_nan(None)
    else:
        found = _decorated(kept, remarks, comma)
        found = _dated(kept, remarks) if found is None else found
        if found is None:
            # Of a target with few classes a limit is part of the name.
            limits = booleans or kept.n_unique() > _FEW_CLASSES
            found = _measured(kept, remarks, comma, limits)
    if found is not None:
        if known.any():
            remarks.add("unknown", words.name, _counted(words.filter(known)))
        return found
    rest = strangers.filter(~strangers.str.to_lowercase().is_in(UNKNOWN))
    if len(rest) <= MOST_STRANGERS * kept.drop_nulls().len() and rest.n_unique() <= 5:
        remarks.add("unknown", words.name, _counted(strangers))
        return numbers.fill_nan(None)
    if 2 * len(rest) < len(present):
        verb = "is no number" if len(rest) == 1 else "are no numbers"
        detail = f"{len(rest):,} of {count(len(present), 'value')} {verb}, such as {rest[0]!r}"
        remarks.add("strangers", words.name, detail)
    return words


def _boolean(words: polars.Series) -> tuple[polars.Series, str] | None:
    distinct = words.drop_nulls().head(1000).str.to_lowercase().unique()
    if len(distinct) > 2:
        return None
    for yes, no in _BOOLEANS:
        if distinct.is_in((yes, no)).all():
            lower = words.str.to_lowercase()
            if lower.drop_nulls().is_in((yes, no)).all():
                return lower == yes, f"{yes}/{no}"
    return None


def _decorated(words: polars.Series, remarks: Remarks, comma: bool) -> polars.Series | None:
    found = read_numerals(words, comma=comma)
    if found is None:
        return None
    for decoration in found.decorations:
        remarks.add(decoration, words.name)
    return found.values


def _measured(words: polars.Series, remarks: Remarks, comma: bool, limits: bool) -> polars.Series | None:
    found = read_measured(words, comma=comma, limits=limits)
    if found is None:
        return None
    for decoration, detail in found.decorations:
        remarks.add(decoration, words.name, detail)
    return found.values


def _dated(words: polars.Series, remarks: Remarks) -> polars.Series | None:
    pl = _polars()
    dates = read_dates(words)
    if dates is not None:
        if dates.order:
            remarks.add("date order", words.name, dates.order)
        # Microseconds hold every date that a table can name.
        micros = pl.Series(words.name, dates.days * 86_400_000_000.0).fill_nan(None).round()
        found: polars.Series = micros.cast(pl.Int64).cast(pl.Datetime("us"))
        return found
    hours = read_clock(words)
    if hours is not None:
        nanos = pl.Series(words.name, hours * 3_600_000_000_000.0).fill_nan(None).round()
        clock: polars.Series = nanos.cast(pl.Int64).cast(pl.Time)
        return clock
    return None


def _counted(words: polars.Series) -> str:
    kinds = words.unique(maintain_order=True).to_list()
    shown = ", ".join(repr(word) for word in kinds[:3])
    more = f" and {len(kinds) - 3} more" if len(kinds) > 3 else ""
    return f"{count(len(words), 'value')}: {shown}{more}"


def _polars() -> Any:
    return require("polars", extra="compare", who="reading a table")
