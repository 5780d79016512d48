from __future__ import annotations

import json
import math
from dataclasses import replace

from normwise.report import build, to_json
from normwise.results import Comparison, loads


def test_the_comparison_comes_back(comparison: Comparison) -> None:
    parsed = json.loads(to_json(comparison))
    assert loads(json.dumps(parsed["comparison"]), Comparison) == comparison


def test_every_figure_has_its_numbers(comparison: Comparison) -> None:
    written = {figure["id"]: figure for figure in json.loads(to_json(comparison))["figures"]}
    figures = build(comparison).figures()
    assert list(written) == [figure.id for figure in figures]
    for figure in figures:
        for panel, other in zip(figure.panels, written[figure.id]["panels"], strict=True):
            for series, numbers in zip(panel.series, other["series"], strict=True):
                assert (series.name, list(series.x), list(series.y)) == (
                    numbers["name"],
                    numbers["x"],
                    numbers["y"],
                )
                assert (list(series.low), list(series.high)) == (numbers["low"], numbers["high"])


def test_sentences_and_answers_are_there(comparison: Comparison) -> None:
    parsed = json.loads(to_json(comparison))
    assert [line["text"] for line in parsed["sentences"]] == [
        line.text for line in build(comparison).claim_lines()
    ]
    assert {answer["setting"] for answer in parsed["answers"]} == {"mlp", "cnn"}
    assert parsed["answers"][0]["sentence"] == build(comparison).answers[0].sentence
    assert parsed["document"]["question"] == comparison.question


def test_numbers_that_json_cannot_hold_become_null(comparison: Comparison) -> None:
    setting = comparison.settings[0]
    variant = setting.variants[0]
    curve = replace(
        variant.validation_curve, median=(math.nan, math.inf, *variant.validation_curve.median[2:])
    )
    changed = replace(setting, variants=(replace(variant, validation_curve=curve), *setting.variants[1:]))
    parsed = json.loads(to_json(replace(comparison, settings=(changed,))))
    assert parsed["figures"][0]["panels"][0]["series"][0]["y"][:2] == [None, None]
