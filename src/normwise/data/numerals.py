"""Numbers as people write them: grouped digits, decimal commas, percent and currency signs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normwise._optional import require

if TYPE_CHECKING:
    import polars

_CURRENCY = r"(?:[$€£¥￥₹₩₽]|USD|EUR|GBP|CHF|CNY|RMB|JPY|元)"
_SIGNED = rf"^(?:{_CURRENCY}|[-+−(]\s*{_CURRENCY}).*|{_CURRENCY}\)?$"
_PERCENT = r"[%％]$"
_END = r"(?:[eE][-+]?\d+)?$"

POINT_NUMBER = rf"^[-+]?\d*\.?\d+{_END}"
COMMA_NUMBER = rf"^[-+]?(?:[1-9]\d{{0,2}}(?:\.\d{{3}})+|\d+)?(?:,\d+)?{_END}"
# No group of thousands begins with zero: 0,512 is a fraction.
_GROUPED_POINT = rf"^[-+]?(?:[1-9]\d{{0,2}}(?:,\d{{3}})+|\d+)(?:\.\d+)?{_END}"
_GROUPED_BLANK = rf"^[-+]?(?:[1-9]\d{{0,2}}(?:['’ ]\d{{3}})+|\d+)(?:[.,]\d+)?{_END}"
_POINT_GROUPS = r"^[-+]?[1-9]\d{0,2}(?:\.\d{3})+$"

_SAMPLE = 500


@dataclass(frozen=True, eq=False)
class Numerals:
    """A column of decorated numbers: Float64 values (null where missing), and what was taken off."""

    values: polars.Series
    decorations: tuple[
        str, ...
    ]  # of "decimal commas", "thousands separators", "percent signs", "currency signs"


def read_numerals(words: polars.Series, *, comma: bool) -> Numerals | None:
    """Read a column of stripped words (null where missing) as decorated numbers, or return None.

    The whole column must be consistent: all grouped or written with a decimal comma in one way, and at least
    half of the values with a sign if one has it (a bare number among percentages must be 0).

    Args:
        words: the column.
        comma: whether 1,234 is one and a bit (in a table that is separated by semicolons or tabs) rather than
            more than a thousand.
    """
    sample = words.drop_nulls().head(_SAMPLE)
    if not len(sample) or _read(sample, comma) is None:
        return None
    return _read(words, comma)


def writes_decimal_commas(words: polars.Series) -> bool:
    """Whether a column holds numbers that only make sense with a decimal comma."""
    core, _ = _without_signs(words.str.strip_chars().drop_nulls().head(_SAMPLE))
    core = core.filter(core != "")
    return bool(len(core) and core.str.contains(",").any() and core.str.contains(COMMA_NUMBER).all())


def groups_with_points(words: polars.Series) -> bool:
    """Whether each point in a column of numbers stands before three digits, as in 1.234.567."""
    dotted = words.filter(words.str.contains(".", literal=True))
    return bool(len(dotted) and dotted.str.contains(_POINT_GROUPS).all())


def _groups_money(core: polars.Series) -> bool:
    """Whether points in amounts group digits, as in 450.000 and 89.500; prices of fuel have three digits too."""
    dotted = core.filter(core.str.contains(".", literal=True))
    return groups_with_points(core) and 2 * int(dotted.str.ends_with("00").sum()) >= len(dotted)


def _read(words: polars.Series, comma: bool) -> Numerals | None:
    pl = _polars()
    core, signs = _without_signs(words)
    if signs is None:
        return None
    present = core.drop_nulls()
    forms = [(COMMA_NUMBER, ",", "."), (_GROUPED_POINT, ".", ","), (_GROUPED_BLANK, None, "'’ ")]
    if not comma and not ("currency signs" in signs and _groups_money(present)):
        forms[0], forms[1] = forms[1], forms[0]
    for pattern, decimal, groups in forms:
        if not present.str.contains(pattern).all():
            continue
        found = list(signs)
        if (
            decimal is None
            and present.str.contains(",", literal=True).any()
            and present.str.contains(r"\.").any()
        ):
            continue
        grouped = present.str.contains(rf"\d[{groups}]\d").any()
        plain = core.str.replace_all(rf"[{groups}]", "") if grouped else core
        if grouped:
            found.insert(0, "thousands separators")
        if decimal != "." and present.str.contains(",", literal=True).any():
            found.insert(0, "decimal commas")
            plain = plain.str.replace(",", ".", literal=True)
        values = plain.cast(pl.Float64, strict=False)
        if values.null_count() == words.null_count():
            return Numerals(values, tuple(found))
    return None


def _without_signs(words: polars.Series) -> tuple[polars.Series, tuple[str, ...] | None]:
    """Take currency and percent signs off; None instead of their names where few values have them."""
    core = words.str.replace_all("[\u00a0\u202f\u2009]", " ").str.replace("^[−－]", "-")
    found: list[str] = []
    present = core.drop_nulls()
    bare = present.str.contains(r"^0(?:[.,]0+)?$").sum()
    percent = int(present.str.contains(_PERCENT).sum())
    if percent:
        if percent + bare < len(present):
            return core, None
        core = core.str.replace(r"\s*[%％]$", "")
        found.append("percent signs")
    money = int(present.str.contains(_SIGNED).sum())
    if money:
        if 2 * (money + bare) < len(present):
            return core, None
        core = core.str.replace(rf"^([-+(]?)\s*{_CURRENCY}\s*", "${1}").str.replace(
            rf"\s*{_CURRENCY}(\)?)$", "${1}"
        )
        # Accountants write (12.50) for −12.50.
        core = core.str.replace(r"^\((.*)\)$", "-${1}")
        found.append("currency signs")
    return core, tuple(found)


def _polars() -> Any:
    return require("polars", extra="compare", who="reading a table")
