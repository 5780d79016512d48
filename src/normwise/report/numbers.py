"""Numbers in words: one place that decides how many digits a reader sees."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from normwise.results import Estimate, Interval

MISSING = "–"
MINUS = "−"


def number(value: float | None, digits: int = 3) -> str:
    """Write a value with so many significant digits and a true minus sign.

    >>> number(0.012345), number(-1234.6), number(None)
    ('0.0123', '−1,235', '–')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    size = abs(value)
    if size < 1e-4 or size >= 1e7:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa}e{int(exponent)}".replace("-", MINUS)
    if float(value).is_integer():
        text = f"{value:,.0f}"
    else:
        decimals = max(0, digits - 1 - math.floor(math.log10(size)))
        text = f"{value:,.{decimals}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", MINUS)


def tick(value: float) -> str:
    """Write the label of a tick, as short as it can be.

    >>> tick(0.0024), tick(0.0006), tick(95.0), tick(-1.5)
    ('0.0024', '6e−4', '95', '−1.5')
    """
    if value == 0 or abs(value) < 1e-12:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e5:
        mantissa, exponent = f"{value:.2e}".split("e")
        text = f"{float(mantissa):g}e{int(exponent)}"
    else:
        text = f"{value:.5g}"
    return text.replace("-", MINUS)


def ratio(value: float | None) -> str:
    """Write a ratio: two decimals near one, fewer further away.

    >>> ratio(1.063), ratio(3.14), ratio(14.8), ratio(0.0213)
    ('1.06×', '3.1×', '15×', '0.021×')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if 0.1 <= value < 1.5:
        return f"{value:.2f}×"
    if 1.5 <= value < 10:
        return f"{value:.1f}×"
    return f"{number(value, 2) if value < 10 else number(round(value))}×"


def learning_rate(value: float | None, digits: int = 3) -> str:
    """Write a learning rate as short as it can be.

    >>> learning_rate(0.1), learning_rate(1e-5)
    ('0.1', '1e−5')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", MINUS)


def quantity(value: float | None, unit: str, *, signed: bool = False) -> str:
    """Write a value with its unit.

    >>> quantity(95.123, "%"), quantity(0.84, "pp", signed=True), quantity(3.14, "x")
    ('95.1%', '+0.8 pp', '3.1×')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if unit == "x":
        return ratio(value)
    if unit == "%":
        text = f"{value:.1f}".replace("-", MINUS)
    elif unit in ("pp", "per layer", "decades per layer"):
        # A tenth of a point is finer than most test sets resolve; only smaller effects need a second digit.
        text = f"{value:.{1 if abs(value) >= 0.095 and unit == 'pp' else 2}f}".replace("-", MINUS)
    elif unit == "steps":
        text = number(round(value) if abs(value) >= 10 else value)
    elif unit == "decades":
        text = f"{value:.1f}".removesuffix(".0").replace("-", MINUS)
    else:
        text = number(value)
    if not any(digit in text for digit in "123456789"):
        text = "0"  # a zero after rounding has neither sign nor digits
    elif signed and value > 0:
        text = f"+{text}"
    if unit == "decades" and abs(value) == 1:
        return f"{text} decade"
    if unit == "%":
        return f"{text}%"
    # The target's own unit is said once, on axes and heads; behind every number it would only be in the way.
    return text if unit in ("", "target") or unit.startswith("units of ") else f"{text} {unit}"


def with_unit(name: str, unit: str) -> str:
    """Write a name with its unit in brackets, as on an axis.

    >>> with_unit("accuracy", "%"), with_unit("r2", ""), with_unit("rmse", "target")
    ('accuracy (%)', 'r2', 'rmse (units of the target)')
    """
    if unit == "target":
        unit = "units of the target"
    return f"{name} ({unit})" if unit else name


def bare(value: float | None, unit: str) -> str:
    """Write a value as `quantity` does, the unit left out where it is a word.

    >>> bare(0.84, "pp"), bare(3.14, "x")
    ('0.8', '3.1×')
    """
    text = quantity(value, unit)
    return text if unit in ("x", "%") else text.split(" ")[0]


def interval(value: Interval, unit: str) -> str:
    """Write an interval, open ends in words; "" if neither end is known.

    >>> interval(Interval(2.2, None), "x")
    '95% interval from 2.2× up'
    """
    level = f"{100 * value.level:g}% interval"
    low, high = value.low, value.high
    if low is None and high is None:
        return ""
    if high is None:
        return f"{level} from {quantity(low, unit)} up"
    # A long unit stands before the interval already.
    write = bare if unit.endswith("per layer") else quantity
    if low is None:
        return f"{level} up to {write(high, unit)}"
    return f"{level} {bare(low, unit)} to {write(high, unit)}"


def effect(value: Estimate, *, signed: bool = False) -> str:
    """Write the value of an estimate with its bound: "at least 3.1×"."""
    text = quantity(value.value, value.unit, signed=signed)
    return f"{value.bound} {text}" if value.bound and value.value is not None else text


def count(n: int, noun: str, plural: str = "") -> str:
    """Write a number of things.

    >>> count(1, "seed"), count(1797, "row")
    ('1 seed', '1,797 rows')
    """
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def listing(names: Sequence[str], joint: str = "and") -> str:
    """Join names as a sentence does.

    >>> listing(["batch", "layer", "rms"])
    'batch, layer and rms'
    """
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {joint} {names[-1]}"


def finite(values: Iterable[float | None]) -> list[float]:
    """Keep the values that are numbers."""
    return [value for value in values if value is not None and math.isfinite(value)]


def median(values: Iterable[float | None]) -> float | None:
    """Return the median of the values that are numbers, None if there are none."""
    kept = sorted(finite(values))
    if not kept:
        return None
    middle = len(kept) // 2
    return kept[middle] if len(kept) % 2 else (kept[middle - 1] + kept[middle]) / 2


def quartiles(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """Return the ends of the middle half of the values that are numbers, interpolated between them.

    >>> quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    (2.0, 4.0)
    """
    kept = sorted(finite(values))
    if not kept:
        return None, None

    def at(share: float) -> float:
        place = share * (len(kept) - 1)
        below = int(place)
        above = min(below + 1, len(kept) - 1)
        return kept[below] + (place - below) * (kept[above] - kept[below])

    return at(0.25), at(0.75)


def sentence(text: str) -> str:
    """Begin with a capital letter and end with a full stop, once."""
    text = text.strip()
    if not text:
        return ""
    text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
