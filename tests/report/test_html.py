from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from normwise.report import build, to_html
from normwise.report.svg import escape
from normwise.results import (
    ActivationPercentiles,
    Comparison,
    Curve,
    Estimate,
    FinalSeed,
    InitSpread,
    Interval,
    LearningRatePoint,
    Setting,
)

VOID = {"meta", "path", "use", "br", "img", "link", "input", "hr", "rect", "line", "circle", "wbr"}
NOTHING = Interval(None, None)


class Page(HTMLParser):
    """Collects tags, ids and attributes, and checks that elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.tags: Counter[str] = Counter()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids.update(value for name, value in attrs if name == "id" and value)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def text(comparison: Comparison) -> str:
    return to_html(comparison)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_the_page_nests_and_its_ids_are_unique(page: Page) -> None:
    assert page.open == []
    assert [name for name, n in page.ids.items() if n > 1] == []
    targets = {value[1:] for name, value in page.attributes if name == "href" and value.startswith("#")}
    assert targets <= set(page.ids)


def test_a_wrongly_nested_page_is_noticed() -> None:
    with pytest.raises(AssertionError):
        Page("<p><b></p></b>")


def test_nothing_is_loaded_from_elsewhere(text: str, page: Page) -> None:
    assert not re.search(r"https?:|//cdn|@import|<script|<link|url\((?!#)", text)
    assert not [name for name, value in page.attributes if name == "src" or name.startswith("on")]


def test_the_page_is_small(text: str) -> None:
    assert len(text.encode()) < 1_000_000


def test_the_first_screen_carries_the_answer(text: str, comparison: Comparison) -> None:
    first = text[text.index('<div class="first') : text.index("<nav")]
    for answer in build(comparison).answers:
        assert escape(answer.sentence) in first
    assert first.count('class="score"') == first.count('class="minis"') == 2
    assert first.count("nn.BatchNorm1d(64)") == 4
    assert first.count("keras.layers.BatchNormalization") == 2


def test_tabs_need_no_script_and_reach_every_pane(text: str, page: Page) -> None:
    labels = {value for name, value in page.attributes if name == "for"}
    assert labels == {"tab-s1", "tab-s2", "code-s1-1", "code-s1-2", "code-s2-1", "code-s2-2"}
    assert labels <= set(page.ids)
    assert text.count('name="setting"') == 2
    # Hidden on a screen only: print and readers without the sheet get all answers in turn.
    sheet = text[text.index("<style>") : text.index("</style>")]
    assert sheet.index("@media screen {", sheet.index("One answer at a time")) < sheet.index(
        "#tab-s2:not(:checked)"
    )


def test_one_setting_has_no_tabs(comparison: Comparison) -> None:
    text = to_html(replace(comparison, settings=comparison.settings[:1]))
    assert 'name="setting"' not in text
    assert "#tab-" not in text


def test_why_is_folded_and_opens_in_print(text: str) -> None:
    section = text[text.index('id="why"') :]
    assert section[: section.index("<summary>")].count('<details class="folded">') == 1
    assert "details.folded::details-content" in text


def test_more_than_two_notices_fold(make: Callable[..., Comparison]) -> None:
    base = make()
    data = replace(base.data, warnings=("one column gives it away", "another one too"))
    text = to_html(make(partial=True, planned=99, shed=("layer went",), data=data))
    shown, folded = text[: text.index("<main>") + 4000].split('<details class="folded">', 1)
    assert "One column gives it away." in shown
    assert "Another one too." in shown
    assert "Partial, Left out for the budget: 2 more" in folded


def test_a_first_look_carries_no_verdict(comparison: Comparison) -> None:
    seen = tuple(
        replace(
            setting,
            claims=tuple(replace(c, verdict="exploratory", strength="", reason="") for c in setting.claims),
            target_reason="",
        )
        for setting in comparison.settings
    )
    text = to_html(replace(comparison, settings=seen, exploratory=True, references=(), question="Which?"))
    told = text[text.index("<body>") : text.index('id="errata"')]
    told = re.sub(r"higher is better", "", told)
    assert "~" in told
    assert "seen in 5 seeds" in told
    verdicts = r">\s*(yes|no|undecided|no difference)\s*<|leaning|\bbetter\b|\bworse\b|recommended<"
    assert not re.search(verdicts, told.lower())


def test_a_command_breaks_between_its_words_only(text: str) -> None:
    assert "<span>normwise</span> <span>compare</span> <span>digits</span>" in text


def test_ten_variants_in_two_settings_stay_small(
    comparison: Comparison, setting_of: Callable[..., Setting]
) -> None:
    names = ("none", "batch", "layer", "group", "weight", "rms", "instance", "a", "b", "c")
    settings = tuple(setting_of(name, names, seeds=10) for name in ("mlp", "cnn"))
    assert len(to_html(replace(comparison, settings=settings)).encode()) < 2_000_000


def test_every_claim_has_its_sentence(text: str, comparison: Comparison) -> None:
    # A flag is marked up so that it does not break; the words around it are the sentence.
    plain = text.replace('<code class="flag">', "").replace("</code>", "").replace("&#39;", "'")
    lines = build(comparison).claim_lines()
    assert len(lines) == sum(len(setting.claims) for setting in comparison.settings)
    assert all(line.text in plain for line in lines)


def test_drawings_follow_the_theme_and_say_what_they_are(text: str, page: Page) -> None:
    drawings = re.findall(r'<svg class="plot".*?</svg>', text, flags=re.S)
    assert len(drawings) > 30
    for drawing in drawings:
        assert "<title" in drawing
        assert not re.search(r"#[0-9a-f]{6}\b", drawing)
    assert page.tags["figcaption"] == page.tags["figure"] == 21
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_tick_labels_keep_their_digits(text: str) -> None:
    assert ">0.001</text>" in text


def test_names_from_outside_are_text(comparison: Comparison, setting_of: Callable[..., Setting]) -> None:
    evil = "<script>alert(1)</script> & $x_1$ 中"
    data = replace(comparison.data, name=evil, classes=(evil, '"><img src=x>'), target=evil, notes=(evil,))
    setting = setting_of("mlp", ("none", evil))
    trials = ({evil: evil},)
    text = to_html(replace(comparison, question=evil, data=data, settings=(setting,), trials=trials))
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;" in text
    assert Page(text).open == []


def test_a_long_name_may_end_its_line_behind_an_underscore(
    comparison: Comparison, setting_of: Callable[..., Setting]
) -> None:
    text = to_html(replace(comparison, settings=(setting_of("mlp", ("none", "batch_renorm")),)))
    assert "batch_<wbr>renorm" in text


def _emptied(setting: Setting) -> Setting:
    """Return the setting as if nothing could be measured in it."""
    none3 = (None, None, None)
    curve = Curve((0, 1, 2), (0.0, 0.1, 0.2), none3, none3, none3)
    nothing = Estimate(None, NOTHING, 0, "")
    changes: dict[str, Any] = {
        "fastest_lr": None,
        "cost": None,
        "scan": (LearningRatePoint(0.1, (None, None), None, 2, 2, NOTHING),),
        "validation_curve": curve,
        "train_loss_curve": curve,
        "fixed_validation_curve": curve,
        "steps_to_target": (None,),
        "seconds_to_target": (None,),
        "initializations": (InitSpread("he ×1", (None,), None, 1),),
        "percentiles": ActivationPercentiles((0, 1, 2), none3, none3, none3),
        "final": (FinalSeed(1, None, None, None, True),),
        "gap": nothing,
        "dead_fraction": None,
        "correlation": None,
        "activation_std": (None,),
        "train_eval_discrepancy": None,
        "divergence_interval": NOTHING,
    }
    variants = tuple(
        replace(
            variant,
            gradient=replace(
                variant.gradient,
                start=(None, None),
                end=(0.0, None),
                start_slope=None,
                start_slope_interval=NOTHING,
            ),
            **changes,
        )
        for variant in setting.variants
    )
    claims = tuple(
        replace(c, effect=nothing, verdict="not measured", baseline_value=None, variant_value=None, reason="")
        for c in setting.claims
    )
    return replace(
        setting, variants=variants, claims=claims, target=None, target_reason="", recommendation=None
    )


def test_nothing_measured_is_a_report_too(comparison: Comparison) -> None:
    setting = _emptied(comparison.settings[0])
    text = to_html(replace(comparison, settings=(setting,), probe=None, trials=()))
    assert Page(text).open == []
    assert "not measured" in text
    assert not re.search(r"\b(nan|None|inf)\b", text)


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (("none",), {}),
        (("none", "batch"), {"seeds": 1}),
        (("none", "batch"), {"grid": (0.1,)}),
        (("none", "batch"), {"seeds": 12, "regression": True}),
    ],
)
def test_small_comparisons_render(
    names: tuple[str, ...],
    options: dict[str, Any],
    comparison: Comparison,
    setting_of: Callable[..., Setting],
) -> None:
    text = to_html(replace(comparison, settings=(setting_of("mlp", names, **options),), probe=None))
    assert Page(text).open == []
    assert ('class="score"' in text) == ("batch" in names)


def test_no_setting_at_all_renders(comparison: Comparison) -> None:
    text = to_html(replace(comparison, settings=(), probe=None, references=(), more_seeds=None, partial=True))
    assert Page(text).open == []
    assert "planned trials are in" in text
