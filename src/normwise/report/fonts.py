"""Fonts for pictures: a family with Chinese, Japanese and Korean signs where one is installed, else placeholders."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from normwise._optional import require
from normwise.results import Comparison, Setting

PLAIN = "DejaVu Sans"
"""Comes with matplotlib."""

_WIDE = (
    "CJK",
    "Source Han",
    "WenQuanYi",
    "YaHei",
    "SimHei",
    "SimSun",
    "PingFang",
    "Hiragino",
    "Heiti",
    "Songti",
)
_WIDE_TOO = ("Arial Unicode", "Droid Sans Fallback", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR", "Malgun")
_NONE = "□"


def families() -> list[str]:
    """Return the families to draw with, the first that has a sign wins."""
    wide = _wide_font()
    return [PLAIN] if wide is None else [PLAIN, wide[0]]


@cache
def _wide_font() -> tuple[str, str] | None:
    """Return family and path of an installed font with CJK signs."""
    manager = require("matplotlib.font_manager", extra="compare", who="the picture of the report")
    for entry in sorted(manager.fontManager.ttflist, key=lambda font: (font.name, font.fname)):
        if entry.style == "normal" and any(word in entry.name for word in (*_WIDE, *_WIDE_TOO)):
            return str(entry.name), str(entry.fname)
    return None


@cache
def _signs(path: str) -> frozenset[int]:
    manager = require("matplotlib.font_manager", extra="compare", who="the picture of the report")
    return frozenset(manager.get_font(path).get_charmap())


def _known() -> list[frozenset[int]]:
    manager: Any = require("matplotlib.font_manager", extra="compare", who="the picture of the report")
    wide = _wide_font()
    plain = _signs(str(manager.findfont(PLAIN)))
    return [plain] if wide is None else [plain, _signs(wide[1])]


def drawable(text: str) -> bool:
    """Whether the fonts have every sign of a text."""
    known = _known()
    return all(any(ord(sign) in signs for signs in known) for sign in text)


def safe(text: str) -> str:
    """Return a text on one line in which every run of signs that no font has is one empty box."""
    signs: list[str] = []
    for sign in " ".join(text.split()):
        if drawable(sign):
            signs.append(sign)
        elif not signs or signs[-1] != _NONE:
            signs.append(_NONE)
    return "".join(signs)


def named_drawably(comparison: Comparison) -> Comparison:
    """Return a comparison whose data, settings and variants have names that can be drawn: their number where not."""
    data = comparison.data
    if not drawable(data.name):
        data = replace(data, name="this data")
    settings = tuple(_setting(setting, i) for i, setting in enumerate(comparison.settings))
    return replace(comparison, data=data, settings=settings)


def _setting(setting: Setting, place: int) -> Setting:
    names = {
        variant.name: variant.name if drawable(variant.name) else f"variant {i + 1}"
        for i, variant in enumerate(setting.variants)
    }
    if all(name == new for name, new in names.items()) and drawable(setting.name):
        return setting
    advice = setting.recommendation
    return replace(
        setting,
        name=setting.name if drawable(setting.name) else f"network {place + 1}",
        baseline=names.get(setting.baseline, setting.baseline),
        variants=tuple(replace(variant, name=names[variant.name]) for variant in setting.variants),
        claims=tuple(
            replace(claim, variant=names.get(claim.variant, claim.variant)) for claim in setting.claims
        ),
        recommendation=None
        if advice is None
        else replace(advice, variant=names.get(advice.variant, advice.variant)),
    )
