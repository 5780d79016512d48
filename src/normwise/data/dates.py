"""Dates and times in words, and the numbers that a network can use of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import polars

_Floats = npt.NDArray[np.float64]

_TIME = (
    r"(?:[Tt,\s]\s*(?<H>\d{1,2})[:时](?<M>\d{1,2})(?:[:分](?<S>\d{1,2}(?:\.\d+)?)?)?[分秒]?"
    r"\s*(?<half>[AaPp])?(?:\.?[Mm]\.?)?\s*(?<zone>[Zz]|UTC|GMT|[-+]\d{2}:?\d{2})?)?$"
)
_DAY_NAME = r"^(?:[A-Za-z]{3,9},?\s+)?"
_PATTERNS = (
    (r"^(?<y>\d{4})\s*[-/.年]\s*(?<m>\d{1,2})\s*[-/.月]\s*(?<d>\d{1,2})日?" + _TIME, "ymd"),
    (r"^(?<a>\d{1,2})[-/.](?<b>\d{1,2})[-/.](?<y>\d{4}|\d{2})" + _TIME, "aby"),
    (
        _DAY_NAME + r"(?<d>\d{1,2})[-\s./]+(?<name>[A-Za-z]{3,9})\.?[-\s,./]+(?<y>\d{4}|\d{2})" + _TIME,
        "named",
    ),
    (
        _DAY_NAME + r"(?<name>[A-Za-z]{3,9})\.?\s+(?<d>\d{1,2})(?:st|nd|rd|th)?,?\s+(?<y>\d{4})" + _TIME,
        "named",
    ),
    (r"^(?<y>(?:1[89]|2[01])\d{2})\s*[-/年]\s*(?<m>\d{1,2})月?$", "ym"),
)
_CLOCK = r"^(?<H>\d{1,2}):(?<M>\d{2})(?::(?<S>\d{2}(?:\.\d+)?))?$"
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: index for index, name in enumerate(_MONTH_NAMES, 1)}
_SAMPLE = 300

_YEAR = 365.25


@dataclass(frozen=True, eq=False)
class Dates:
    """A column of dates: (N,) days since 1970-01-01, NaN where missing, and how they were written."""

    days: _Floats
    order: str  # "day.month.year", "month/day/year"; "" where it needs no word


@dataclass(frozen=True, eq=False)
class _Fields:
    text: dict[str, polars.Series]

    def numbers(self, name: str, default: float = 0.0) -> _Floats:
        if name not in self.text:
            return np.full(len(next(iter(self.text.values()))), default)
        values: _Floats = self.text[name].cast(_float(), strict=False).fill_null(default).to_numpy()
        return values


def read_dates(words: polars.Series) -> Dates | None:
    """Read a column of stripped words (null where missing) as dates in one of many forms, or return None.

    Years come first, or last after day and month in numbers or with the month's English name; 年, 月 and 日 are
    understood; a time of day and an offset from UTC may follow. 3/4/2024 is March 4th and 3.4.2024 April 3rd
    unless a number above 12 tells otherwise.
    """
    present = words.drop_nulls()
    # Most columns are no dates; a look at the shortest possible beginning spares them the patterns.
    if not len(present) or not present.head(_SAMPLE).str.contains(r"\d").all():
        return None
    distinct = present.unique(maintain_order=True)
    for pattern, form in _PATTERNS:
        if not distinct.head(_SAMPLE).str.contains(pattern).all():
            continue
        fields = _matched(distinct, pattern)
        if fields is None:
            continue
        found = _from_fields(fields, form, distinct)
        if found is not None:
            return Dates(_spread(words, distinct, found.days), found.order)
    return None


def read_clock(words: polars.Series) -> _Floats | None:
    """Read a column of times of day such as 13:05 or 13:05:20 as hours, NaN where missing, or return None."""
    distinct = words.drop_nulls().unique(maintain_order=True)
    if not len(distinct) or not distinct.head(_SAMPLE).str.contains(_CLOCK).all():
        return None
    fields = _matched(distinct, _CLOCK)
    if fields is None:
        return None
    hours = fields.numbers("H") + fields.numbers("M") / 60 + fields.numbers("S") / 3600
    return _spread(words, distinct, hours) if (hours < 24).all() else None


def days_of_integers(values: _Floats) -> _Floats | None:
    """Read numbers such as 20240131 as days since 1970, or return None if one of them is no date."""
    known = ~np.isnan(values)
    whole = values[known]
    if not len(whole) or not ((whole >= 19000101) & (whole <= 21001231) & (whole == np.rint(whole))).all():
        return None
    found = _days(whole // 10000, whole // 100 % 100, whole % 100)
    if found is None:
        return None
    days = np.full(len(values), np.nan)
    days[known] = found
    return days


def turns(days: _Floats) -> dict[str, _Floats]:
    """Where each of the (N,) days is in the course of the year, week and day, as far as their range allows.

    Values count whole turns. "month" needs a year, "weekday" two weeks, "hour" two days and times of day that
    differ.
    """
    known = days[~np.isnan(days)]
    if not len(known):
        return {}
    span = float(known.max() - known.min())
    found: dict[str, _Floats] = {}
    if span >= _YEAR:
        found["month"] = days / _YEAR
    # 1970-01-01 was a Thursday; which day begins the week is all one to a turn.
    if span >= 14 and len(np.unique(np.floor(known) % 7)) > 1:
        found["weekday"] = np.floor(days) / 7
    if span >= 2 and len(np.unique(known % 1)) > 1:
        found["hour"] = days
    return found


def _matched(distinct: polars.Series, pattern: str) -> _Fields | None:
    struct = distinct.str.extract_groups(pattern)
    fields = {field.name: field for field in struct.struct.unnest().get_columns()}
    # A record that does not match has nothing in any field; the first field takes part in every match.
    first = re.search(r"\(\?<(\w+)>", pattern)
    return None if first is None or fields[first[1]].null_count() else _Fields(fields)


def _from_fields(fields: _Fields, form: str, distinct: polars.Series) -> Dates | None:
    year = fields.numbers("y")
    year = np.where(year < 70, year + 2000, np.where(year < 100, year + 1900, year))
    order = ""
    if form == "aby":
        first, second = fields.numbers("a"), fields.numbers("b")
        sign = "/" if "/" in str(distinct[0]) else str(distinct[0]).lstrip("0123456789")[0]
        day_first = bool(first.max() > 12 or (second.max() <= 12 and sign != "/"))
        day, month = (first, second) if day_first else (second, first)
        order = sign.join(("day", "month", "year") if day_first else ("month", "day", "year"))
    elif form == "named":
        names = fields.text["name"].str.slice(0, 3).str.to_lowercase()
        month = names.replace_strict(_MONTHS, default=0, return_dtype=_float()).to_numpy()
        day = fields.numbers("d")
    else:
        month, day = fields.numbers("m"), fields.numbers("d", 1.0)
    days = _days(year, month, day)
    if days is None:
        return None
    hours = fields.numbers("H")
    if "half" in fields.text:
        half = fields.text["half"].str.to_lowercase()
        afternoon, morning = ((half == letter).fill_null(False).to_numpy() for letter in "pa")
        hours = np.where(afternoon & (hours < 12), hours + 12, np.where(morning & (hours == 12), 0, hours))
    minutes, seconds = fields.numbers("M"), fields.numbers("S")
    if (hours > 24).any() or (minutes >= 60).any() or (seconds > 60).any():
        return None
    return Dates(days + (hours + (minutes - _offset(fields)) / 60 + seconds / 3600) / 24, order)


def _offset(fields: _Fields) -> _Floats:
    """Minutes that the written time is ahead of UTC."""
    if "zone" not in fields.text or fields.text["zone"].null_count() == len(fields.text["zone"]):
        return np.zeros(1)
    zone = fields.text["zone"].str.replace(":", "", literal=True)
    sign = np.where((zone.str.slice(0, 1) == "-").fill_null(False).to_numpy(), -1, 1)
    number = zone.str.slice(1).cast(_float(), strict=False).fill_null(0).to_numpy()
    minutes: _Floats = sign * (number // 100 * 60 + number % 100)
    return minutes


def _days(year: _Floats, month: _Floats, day: _Floats) -> _Floats | None:
    """Days since 1970-01-01 by the Gregorian calendar; None if a date does not exist."""
    if not ((month >= 1) & (month <= 12) & (day >= 1) & (year >= 1)).all():
        return None
    start = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    length = ((start + 1).astype("datetime64[D]") - start.astype("datetime64[D]")).astype(np.int64)
    if (day > length).any():
        return None
    days: _Floats = start.astype("datetime64[D]").astype(np.int64) + day - 1
    return days


def _spread(words: polars.Series, distinct: polars.Series, values: _Floats) -> _Floats:
    """Values of distinct words for every word, NaN for null."""
    if len(distinct) == len(words):
        return values
    mapped = words.replace_strict(distinct, values, default=None, return_dtype=_float())
    spread: _Floats = mapped.fill_null(float("nan")).to_numpy()
    return spread


def _float() -> Any:
    import polars

    return polars.Float64()
