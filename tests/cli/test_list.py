from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from normwise.cli.complete import DATA_NAMES, METRICS, columns, norms
from normwise.compare.measures import MEASURES
from normwise.compare.spec import STUDIES
from normwise.data import known

Cli = Callable[..., Any]


@pytest.mark.parametrize(
    ("what", "name"),
    [("data", "wine"), ("layers", "GroupNorm"), ("norms", "evonorm_b0"), ("studies", "regularize")],
)
def test_names_are_listed_each_with_its_line(cli: Cli, what: str, name: str) -> None:
    answer = cli("list", what)
    assert (answer.code, answer.err) == (0, "")
    line = next(line for line in answer.out.splitlines() if line.startswith(name))
    assert len(line.split(maxsplit=1)[1]) > 10
    assert name in json.loads(cli("list", what, "--json").out)


def test_an_unknown_list_names_the_nearest(cli: Cli) -> None:
    answer = cli("list", "layer")
    assert (answer.code, answer.out) == (2, "")
    assert "Did you mean 'layers'" in answer.err


def test_what_the_shell_proposes_is_what_there_is() -> None:
    assert set(DATA_NAMES) == set(known())
    assert set(METRICS) == set(MEASURES)
    assert norms("none,la") == ["none,layer"]
    assert norms("none,ev") == ["none,evonorm_b0", "none,evonorm_s0"]
    assert "article" in STUDIES


def test_columns_are_proposed_from_the_file_that_was_named(tmp_path: Any) -> None:
    context: Any = SimpleNamespace(params={"data": str(tmp_path / "t.csv")}, args=[])
    assert columns(context, "a") == []
    (tmp_path / "t.csv").write_text("age;sex;annual income\n1;2;3\n")
    assert columns(context, "a") == ["age", "annual income"]
    waiting: Any = SimpleNamespace(params={"data": None}, args=[str(tmp_path / "t.csv")])
    assert columns(waiting, "s") == ["sex"]


def test_the_page_of_layers_is_what_the_command_prints(cli: Cli) -> None:
    page = Path(__file__).parents[2] / "docs" / "layers.md"
    assert cli("list", "layers", "--markdown").out == page.read_text(), (
        "normwise list layers --markdown > docs/layers.md"
    )
    assert cli("list", "data", "--markdown").code == 2
