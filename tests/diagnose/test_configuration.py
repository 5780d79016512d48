"""The table [diagnose]: read whole, or refused with the name of what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from normwise.diagnose.configuration import Configuration, read_configuration
from normwise.diagnose.suppress import Suppression
from normwise.errors import NormwiseError


def test_everything_that_can_be_said() -> None:
    table = {
        "select": ["NW1"],
        "ignore": ["bias-before-norm"],
        "steps": 50,
        "suppress": [{"rule": "bias-before-norm", "reason": "shared\n with the teacher"}],
    }
    only = Suppression("NW101", "*", "shared with the teacher")
    assert read_configuration(table, "f") == Configuration(("NW1",), ("bias-before-norm",), 50, (only,))
    assert read_configuration({}, "f") == Configuration()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"threshold": 3}, "unknown field of [diagnose] 'threshold'"),
        ({"select": ["NW9"]}, "unknown rule 'NW9'"),
        ({"ignore": "NW1"}, "`ignore` must be a list of rules"),
        ({"steps": 0}, "`steps` must be a whole number above 0"),
        ({"steps": True}, "`steps` must be a whole number above 0"),
        ({"suppress": {"rule": "NW101"}}, "[[diagnose.suppress]]"),
        ({"suppress": ["NW101"]}, "[[diagnose.suppress]]"),
        ({"suppress": [{"rule": "NW101", "layer": "*"}]}, "must have a `reason`"),
        ({"suppress": [{"rule": "NW101", "reason": " "}]}, "must have a `reason`"),
        ({"suppress": [{"layer": "a", "reason": "b"}]}, "must have a `rule`"),
        ({"suppress": [{"rule": "NW101", "reason": "b", "layers": "a"}]}, "unknown field"),
        ({"suppress": [{"rule": "NW1", "reason": "b"}]}, "of one rule"),
        ({"suppress": [{"rule": "NW999", "reason": "b"}]}, "unknown rule 'NW999'"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(table: dict[str, Any], words: str) -> None:
    with pytest.raises(NormwiseError) as error:
        read_configuration(table, "normwise.toml")
    assert words in str(error.value)
    assert str(error.value).startswith("diagnose")
