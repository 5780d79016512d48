from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from normwise.report.answer import sentences
from normwise.results import Comparison, Setting


def test_the_answer_names_who_is_better_and_by_how_much(comparison: Comparison) -> None:
    text = " ".join(sentences(comparison.settings[0], comparison.data))
    assert "all but weight need fewer steps to the target (1.8× to 3.1×)" in text
    assert "batch tolerates larger learning rates (at least 1 decade)" in text
    assert "Test accuracy: better with batch (1.6 pp)" in text
    assert "Leaning only (5 pairs)." in text
    assert "A step takes longer with all but rms" in text


def test_nothing_decided_is_said_so(comparison: Comparison) -> None:
    setting = comparison.settings[0]
    open_claims = tuple(replace(claim, verdict="undecided", strength="") for claim in setting.claims)
    text = " ".join(sentences(replace(setting, claims=open_claims), comparison.data))
    assert "no benefit in training is decided (5 pairs)" in text
    assert "Test accuracy: undecided for all 5 variants." in text
    assert "better with" not in text


def test_meaningful_is_not_called_leaning(comparison: Comparison) -> None:
    setting = comparison.settings[0]
    firm = tuple(replace(claim, strength="meaningful") for claim in setting.claims)
    assert "Leaning" not in " ".join(sentences(replace(setting, claims=firm), comparison.data))


def test_one_variant_is_called_by_its_name(
    setting_of: Callable[..., Setting], comparison: Comparison
) -> None:
    text = " ".join(sentences(setting_of("mlp", ("none", "layer")), comparison.data))
    assert "layer needs fewer steps to the target (2.0×)" in text


def test_without_claims_nothing_is_answered(
    setting_of: Callable[..., Setting], comparison: Comparison
) -> None:
    assert sentences(setting_of("mlp", ("none",)), comparison.data)[0].startswith("Nothing was compared")
