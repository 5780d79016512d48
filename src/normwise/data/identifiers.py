"""Columns that name rows rather than describe them: counters, identifiers, hashes, free text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import polars

FEW = 20
"""Up to so many different words are categories, however many rows there are."""

NEARLY = 0.9
"""From this share of different values on, words are an identifier; from half of it on, long words are text."""

_COUNTERS = frozenset(
    (
        *(
            "index",
            "idx",
            "row",
            "rows",
            "rownumber",
            "row number",
            "rownum",
            "row id",
            "no",
            "no.",
            "nr",
            "nr.",
        ),
        *("num", "number", "#", "sno", "s.no", "s.no.", "sl no", "serial", "unnamed: 0", "column 1"),
        *("序号", "编号", "行号", "索引"),
    )
)
_ID_WORDS = frozenset(("id", "ids", "uuid", "guid", "identifier", "pk", "rowid"))
_ID_STEMS = (
    "user|cust|customer|client|order|patient|subject|product|item|session|transaction|trans|record|member|"
    "account|student|employee|person|passenger|device|household|case|sample|loan|policy|claim"
)
_ID_SUFFIX = re.compile(rf"(?:{_ID_STEMS})id")
_ID_CHINESE = re.compile(r"编号|序号|流水号|学号|工号|单号|卡号|账号|身份证|证件号|手机号|病历号|住院号")
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_UUID = r"^\{?[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\}?$"
_HASH = r"^(?:0x)?[0-9a-fA-F]{16,128}$"
_SAMPLE = 1000


def named_like_identifier(name: str) -> bool:
    """Whether a name says that a column identifies something.

    >>> [named_like_identifier(name) for name in ("ID", "customer_id", "PassengerId", "userid", "学号")]
    [True, True, True, True, True]
    >>> [named_like_identifier(name) for name in ("paid", "humid", "idea", "grid")]
    [False, False, False, False]
    """
    words = [word.lower() for word in _WORD.findall(name)]
    if not _ID_WORDS.isdisjoint(words) or _ID_CHINESE.search(name):
        return True
    return any(_ID_SUFFIX.fullmatch(word) for word in words)


def kind_of_numbers(name: str, values: npt.NDArray[np.float64]) -> tuple[str, str] | None:
    """Say which kind of remark ("counter", "identifier", "repeating") a column of numbers deserves, and why.

    `values` (N,) are NaN where missing. Only columns whose names say so are identifiers: numbers that are all
    different, or count upwards, may well be measured.
    """
    plain = " ".join(name.lower().replace("_", " ").split())
    identifying = named_like_identifier(name)
    if not identifying and plain not in _COUNTERS:
        return None
    known = values[~np.isnan(values)]
    if len(known) < 2 or not np.array_equal(known, np.rint(known)):
        return None
    if len(known) == len(values) and np.all(np.diff(values) == 1):
        return "counter", ""
    distinct = len(np.unique(known))
    if distinct >= max(NEARLY * len(known), 10):
        return "identifier", "whole numbers, all different" if distinct == len(
            known
        ) else "nearly all different"
    if identifying and distinct > max(50, len(known) // 20):
        return "repeating", f"{distinct:,} different numbers"
    return None


def kind_of_words(name: str, words: polars.Series, distinct: int) -> tuple[str, str] | None:
    """Say which kind of remark ("identifier", "repeating", "text") a column of words deserves, and why.

    Args:
        name: of the column.
        words: the column without missing values.
        distinct: how many different ones there are.
    """
    if distinct <= FEW:
        return None
    sample = words.head(_SAMPLE)
    said = f"{distinct:,} different values"
    if sample.str.contains(_UUID).all() or sample.str.contains(_HASH).all():
        return (
            "identifier" if distinct >= NEARLY * len(words) else "repeating"
        ), f"{said}, such as {sample[0]!r}"
    wordy = sample.str.count_matches(r"\s").mean()
    long = sample.str.len_chars().mean()
    is_text = (isinstance(wordy, float) and wordy >= 4) or (isinstance(long, float) and long >= 60)
    if is_text and distinct >= NEARLY / 2 * len(words):
        return "text", said
    if distinct >= NEARLY * len(words):
        return "identifier", f"{said} in {len(words):,}, such as {_short(str(sample[0]))!r}"
    if named_like_identifier(name) and distinct > max(50, len(words) // 20):
        return "repeating", said
    return None


def _short(text: str) -> str:
    return text if len(text) <= 30 else text[:29] + "…"
