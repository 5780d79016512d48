from pathlib import Path
from typing import Any

import pytest

import normwise as nw
import normwise.compare.api
from normwise.compare.variant import Variant
from normwise.errors import UnknownNameError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """Questions that would have been run."""
    found: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(normwise.compare.api, "run", lambda spec, **rest: found.append((spec, rest)))
    return found


def test_plain_values_become_a_question(asked: list[tuple[Any, dict[str, Any]]], tmp_path: Path) -> None:
    nw.compare("wine", norms=["none", "batch"], lrs=[0.1], seeds=3, out=str(tmp_path), workers=1)
    spec, rest = asked[0]
    assert (spec.data, spec.lrs, spec.seeds) == ("wine", (0.1,), 3)
    assert [variant.name for variant in spec.variants] == ["none", "batch"]
    assert (rest["out"], rest["workers"]) == (tmp_path, 1)
    nw.compare("wine", variants=[Variant(norm="batch", dropout=0.1)])
    assert asked[1][0].variants == (Variant(norm="batch", dropout=0.1),)
    assert asked[1][1]["out"] is None


def test_wrong_values_are_told_before_anything_runs(asked: list[tuple[Any, dict[str, Any]]]) -> None:
    with pytest.raises(UnknownNameError, match="unknown field 'epoch'"):
        nw.compare("wine", epoch=3)
    with pytest.raises(UnknownNameError, match="'batch'"):
        nw.compare("wine", norms=["bacth"])
    assert not asked
