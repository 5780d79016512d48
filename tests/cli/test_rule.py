"""`normwise rule`: what a rule is about, and the list of all."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from normwise.diagnose.rules import all_rules

Cli = Callable[..., Any]


def test_a_rule_in_full(cli: Cli) -> None:
    answer = cli("rule", "NW101")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert lines[0] == "NW101 bias-before-norm (structure)"
    for title in ("What it finds", "Why that is bad", "Example", "Remedy", "Needs", "Source"):
        assert title in lines
    assert lines[lines.index("Example") + 1] == "    nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64))"
    assert "--fix` applies it to a copy" in answer.out
    assert cli("rule", "bias-before-norm").out == answer.out


def test_the_list_has_each_rule_once_under_its_family(cli: Cli) -> None:
    answer = cli("rule", "--all")
    rules = all_rules()
    lines = answer.out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [rule.code for rule in rules]
    families = [line for line in lines if line and not line.startswith(" ")]
    assert families == list(dict.fromkeys(rule.family for rule in rules))
    assert cli("rule", "NW1").out.splitlines()[:2] == lines[:2]


def test_json(cli: Cli) -> None:
    found = json.loads(cli("rule", "NW101", "--json").out)
    assert list(found) == ["NW101"]
    assert found["NW101"]["name"] == "bias-before-norm"
    assert (found["NW101"]["family"], found["NW101"]["fixable"]) == ("structure", True)
    assert len(json.loads(cli("rule", "--all", "--json").out)) == len(all_rules())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("NW999",), "unknown rule 'NW999'"),
        (("bias-before-nrom",), "Did you mean 'bias-before-norm'"),
        ((), "normwise rule --all"),
        (("NW101", "--all"), "Got both"),
    ],
)
def test_what_is_wrong_is_one_line(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    answer = cli("rule", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.message
    assert len(answer.err.splitlines()) == 1
