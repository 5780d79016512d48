from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from normwise.report import fonts, to_png
from normwise.results import Comparison, Setting


def picture(comparison: Comparison) -> Image.Image:
    with io.BytesIO(to_png(comparison)) as stream, Image.open(stream) as image:
        return image.convert("RGB")


def drawn(image: Image.Image, box: tuple[int, int, int, int]) -> bool:
    return len(set(image.crop(box).get_flattened_data())) > 20  # type: ignore[arg-type]


def test_it_has_the_size_of_a_screen_twice_as_dense(comparison: Comparison) -> None:
    image = picture(comparison)
    assert image.size == (2560, 1440)
    sentence, scorecard, figures, command = (
        (80, 140, 1400, 280),
        (80, 400, 1400, 900),
        (1500, 400, 2480, 900),
        (80, 1290, 1400, 1340),
    )
    assert all(drawn(image, box) for box in (sentence, scorecard, figures, command))


def test_nothing_reaches_the_edges(comparison: Comparison, setting_of: Callable[..., Setting]) -> None:
    names = ("none", *(f"a variant with a very long name {i}" for i in range(14)))
    long = replace(
        comparison, settings=(setting_of("mlp", names),), data=replace(comparison.data, name="x" * 300)
    )
    image = picture(long)
    ground = image.getpixel((0, 0))
    assert set(image.crop((0, 0, 60, 1440)).get_flattened_data()) == {ground}
    assert set(image.crop((2520, 0, 2560, 1440)).get_flattened_data()) == {ground}


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": ()},
        {"partial": True, "exploratory": True, "more_seeds": None, "references": ()},
    ],
)
def test_missing_pieces_leave_a_picture(changes: dict[str, Any], comparison: Comparison) -> None:
    assert picture(replace(comparison, **changes)).size == (2560, 1440)


def test_a_setting_without_claims_leaves_a_picture(comparison: Comparison) -> None:
    bare = replace(comparison.settings[0], claims=(), recommendation=None)
    assert picture(replace(comparison, settings=(bare,))).size == (2560, 1440)


def _renamed(comparison: Comparison) -> Comparison:
    setting = comparison.settings[0]
    variants = tuple(replace(v, name="批标准化" if v.name == "batch" else v.name) for v in setting.variants)
    claims = tuple(
        replace(c, variant="批标准化" if c.variant == "batch" else c.variant) for c in setting.claims
    )
    changed = replace(setting, name="网络", variants=variants, claims=claims)
    data = replace(comparison.data, name="客户流失.csv", target="流失", inputs="13 列")
    return replace(comparison, data=data, settings=(changed,), question="哪种更好？")


def test_names_that_no_font_has_become_numbers(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "_wide_font", lambda: None)
    named = fonts.named_drawably(_renamed(comparison))
    assert named.data.name == "this data"
    assert named.settings[0].name == "network 1"
    assert [v.name for v in named.settings[0].variants][:3] == ["none", "variant 2", "layer"]
    assert {c.variant for c in named.settings[0].claims} >= {"variant 2", "layer"}
    assert fonts.safe("13 数值列 ok") == "13 □ ok"
    assert picture(_renamed(comparison)).size == (2560, 1440)


def test_a_font_that_has_the_signs_keeps_the_names(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = frozenset(range(0x20, 0xFFFF))
    monkeypatch.setattr(fonts, "_known", lambda: [everything])
    renamed = _renamed(comparison)
    assert fonts.named_drawably(renamed) == renamed
