"""What holds of every rule, before it is asked anything."""

from __future__ import annotations

import ast
import re

import pytest

from normwise.diagnose.rule import NEEDS, Rule
from normwise.diagnose.rules import all_rules

RULES = all_rules()
CODES = {rule.code for rule in RULES}


def test_codes_and_names_are_unique() -> None:
    assert len(CODES) == len(RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert {rule.family for rule in RULES} == {"structure", "numerics", "state", "data", "dynamics"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_rule_is_written_out(rule: Rule) -> None:
    assert re.fullmatch(r"NW[1-5]\d\d", rule.code)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name)
    assert rule.summary.endswith(".")
    assert rule.why.endswith(".")
    ast.parse(rule.bad)
    ast.parse(rule.good)
    assert rule.needs <= set(NEEDS)
    assert rule.explains <= CODES
    assert rule.code not in rule.explains
