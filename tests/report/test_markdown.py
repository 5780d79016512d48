from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from normwise.report import build, to_markdown
from normwise.results import Comparison, Setting, Snippet


def tables(text: str) -> list[list[str]]:
    return [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]


def cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line)) - 1


def test_it_holds_the_whole_answer(comparison: Comparison) -> None:
    text = to_markdown(comparison)
    assert text.startswith("# normwise compare: digits\n")
    for answer in build(comparison).answers:
        assert f"**{answer.sentence}**" in text
    assert text.count("```python\n") == 4
    assert "```console\nnormwise compare digits --network mlp --network cnn --seeds 23\n```" in text
    assert "| gradient boosting | 96.1% |" in text
    assert "## Data and trust" in text


def test_rows_have_as_many_cells_as_heads(comparison: Comparison) -> None:
    found = tables(to_markdown(comparison))
    assert len(found) >= 5
    for table in found:
        assert re.fullmatch(r"\|( -{3}:? \|)+", table[1])
        assert {cells(line) for line in table} == {cells(table[0])}


def test_names_stay_text(comparison: Comparison, setting_of: Callable[..., Setting]) -> None:
    evil = "a|b <img src=x> *bold* `tick`\n# head"
    setting = setting_of("mlp", ("none", evil))
    text = to_markdown(
        replace(comparison, question=evil, data=replace(comparison.data, name=evil), settings=(setting,))
    )
    assert "<img" not in text
    assert "\n# head" not in text
    assert {cells(line) for line in tables(text)[0]} == {8}


def test_a_fence_is_longer_than_any_in_the_code(comparison: Comparison) -> None:
    setting = comparison.settings[0]
    assert setting.recommendation is not None
    tricky = replace(setting.recommendation, snippets=(Snippet("PyTorch", 'text = """```"""'),))
    text = to_markdown(replace(comparison, settings=(replace(setting, recommendation=tricky),)))
    assert '````python\ntext = """```"""\n````' in text


@pytest.mark.parametrize("settings", [0, 1])
def test_what_is_not_there_leaves_no_empty_part(settings: int, comparison: Comparison) -> None:
    bare = [replace(s, recommendation=None, claims=()) for s in comparison.settings[:settings]]
    text = to_markdown(
        replace(comparison, settings=tuple(bare), references=(), more_seeds=None, partial=True)
    )
    assert "> **Partial**" in text
    assert "Do this" not in text
    assert "\n\n\n" not in text
    assert not re.search(r"\b(None|nan)\b", text)
