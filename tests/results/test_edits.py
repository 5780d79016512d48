import dataclasses

import pytest

from normwise.results import dumps, loads
from normwise.results.edits import Edit, Edits

EDITS = Edits(
    "insert",
    (
        Edit("body.1", "", "nw.BatchNorm1d", "before the activation"),
        Edit("body.3", "nn.BatchNorm1d", "", "it was asked for"),
        Edit("", "nn.Linear", "nn.Linear", "it is the last one"),
    ),
    ("nothing was trained",),
)


def test_the_table() -> None:
    assert (
        str(EDITS)
        == repr(EDITS)
        == """\
insert: 2 places changed, 1 left alone
name         before          after           why
body.1       nothing         nw.BatchNorm1d  before the activation
body.3       nn.BatchNorm1d  nothing         it was asked for
(the model)  nn.Linear       left alone      it is the last one
note: nothing was trained"""
    )
    assert str(Edits("fold", ())) == "fold: 0 places changed, 0 left alone"
    assert str(Edits("fold", EDITS.entries[:1])).startswith("fold: 1 place changed, 0 left alone\n")


def test_entries_by_order_and_name() -> None:
    assert [edit.name for edit in EDITS] == ["body.1", "body.3", ""]
    assert len(EDITS) == 3
    assert EDITS["body.3"] is EDITS.entries[1]
    with pytest.raises(KeyError, match="head"):
        EDITS["head"]
    assert EDITS.changed == EDITS.entries[:2]
    assert EDITS.left_alone == EDITS.entries[2:]
    name, before, after, why = EDITS.entries[2]
    assert (name, before, after, why) == ("", "nn.Linear", "nn.Linear", "it is the last one")


def test_it_is_a_record() -> None:
    assert loads(dumps(EDITS), Edits) == EDITS
    with pytest.raises(dataclasses.FrozenInstanceError):
        EDITS.operation = "fold"  # type: ignore[misc]
