"""Numbers with something beside them: a unit, thousands and millions, a limit of detection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normwise._optional import require
from normwise.data.numerals import Numerals, read_numerals

if TYPE_CHECKING:
    import polars

_MAGNITUDES = {"k": 1e3, "m": 1e6, "mn": 1e6, "mio": 1e6, "b": 1e9, "bn": 1e9, "万": 1e4, "亿": 1e8}
_PARTS = r"^(.*[\d.])(\s*)([^\d\s.,;:<>()+\-/'’%％$€£¥￥₹₩₽元][^\d,;:<>()]{0,14})$"
_LIMIT = r"^(?:[<>≤≥~≈]=?|ca\.?)\s*|\s*\+(\s|$)"
_AMBIGUOUS = ("m", "b", "B")  # alone metres or minutes, bytes or anything
_PLURALS = ("s", "e", "n", "en", "es")

MOST_LIMITED = 0.5
"""Where more values than this share are limits, as in <=50K and >50K, they are words."""

_SAMPLE = 500


@dataclass(frozen=True, eq=False)
class Measured:
    """A column of numbers with units or limits: Float64 values, and what was taken off, each with a detail."""

    values: polars.Series
    decorations: tuple[tuple[str, str], ...]


def read_measured(words: polars.Series, *, comma: bool, limits: bool = True) -> Measured | None:
    """Read a column of stripped words (null where missing) as numbers with a unit or limits, or return None.

    Every value must have the same unit, up to its plural: "3 days" and "1 day", "36.8℃"; numbers alone may
    stand beside it where a blank sets it off or it is no Latin letter. k, M, bn, 万 and their like multiply.
    A limit ("<5", "10+") is read as its number.

    Args:
        words: the column.
        comma: as in `read_numerals`.
        limits: whether limits are numbers; for a target of few classes they are part of the name.
    """
    sample = words.drop_nulls().head(_SAMPLE)
    if not len(sample) or _read(sample, comma, limits) is None:
        return None
    return _read(words, comma, limits)


def _read(words: polars.Series, comma: bool, limits: bool) -> Measured | None:
    said: list[tuple[str, str]] = []
    core = words
    limited = words.filter(words.str.contains(_LIMIT).fill_null(False))
    if len(limited):
        if not limits or len(limited) > MOST_LIMITED * words.drop_nulls().len():
            return None
        said.append(("limits", f"such as {limited[0]!r}"))
        core = words.str.replace(_LIMIT, "${1}")
    factors, unit = None, _Unit(core)
    if unit.found:
        factors = unit.factors()
        if factors is None and not unit.agrees():
            return None
        shown = ", ".join(unit.kinds[:3])
        said.append(("magnitudes" if factors is not None else "units", shown))
        core = unit.numbers
    numbers = _numbers(core, comma)
    if numbers is None or not said:
        return None
    values = numbers.values if factors is None else numbers.values * factors
    return Measured(values.alias(words.name), (*said, *((kind, "") for kind in numbers.decorations)))


class _Unit:
    """The parts of words that are a number and a unit."""

    def __init__(self, words: polars.Series) -> None:
        pl = _polars()
        found = words.str.contains(_PARTS).fill_null(False)
        self.units = words.str.extract(_PARTS, 3).str.strip_chars()
        self.kinds: list[str] = self.units.drop_nulls().unique(maintain_order=True).head(20).to_list()
        self.found = bool(found.any())
        self.bare = bool((~found & words.is_not_null()).any())
        self.apart = bool(words.str.extract(_PARTS, 2).drop_nulls().str.len_chars().min())
        numbers = words.str.extract(_PARTS, 1)
        self.numbers = pl.select(pl.when(found).then(numbers).otherwise(words)).to_series().alias(words.name)

    def agrees(self) -> bool:
        """Whether it is one unit, and numbers without it can only mean the same."""
        if len(self.kinds) > 2:
            return False
        short, long = min(self.kinds, key=len), max(self.kinds, key=len)
        plural = len(short) >= 2 and long.removeprefix(short) in _PLURALS
        if len(self.kinds) == 2 and not plural:
            return False
        return not self.bare or self.apart or not (short[0].isascii() and short[0].isalpha())

    def factors(self) -> polars.Series | None:
        """What each number is to be multiplied by; None where the units are no magnitudes."""
        lower = {kind: kind.lower().removesuffix(".") for kind in self.kinds}
        if not set(lower.values()) <= set(_MAGNITUDES) or (
            len(self.kinds) == 1 and self.kinds[0] in _AMBIGUOUS
        ):
            return None
        table = {kind: _MAGNITUDES[plain] for kind, plain in lower.items()}
        found: polars.Series = self.units.replace_strict(table, default=1.0, return_dtype=_polars().Float64)
        return found


def _numbers(core: polars.Series, comma: bool) -> Numerals | None:
    pl = _polars()
    plain = core.cast(pl.Float64, strict=False)
    if plain.null_count() == core.null_count():
        return Numerals(plain, ())
    return read_numerals(core, comma=comma)


def _polars() -> Any:
    return require("polars", extra="compare", who="reading a table")
