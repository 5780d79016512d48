"""Defaults from a file, and what goes before them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from normwise.cli.config import find_config
from normwise.cli.durations import parse_budget
from normwise.errors import ArgumentError

Cli = Callable[..., Any]
SMALL = 'norms = ["none", "batch"]\nsteps = 3\nlrs = [0.1]\nseeds = 2\nscan_seeds = 1\nreferences = false\n'


def planned(cli: Cli, *arguments: str) -> dict[str, Any]:
    answer = cli("compare", *arguments, "--dry-run", "--json")
    assert answer.code == 0, answer.err
    found: dict[str, Any] = json.loads(answer.out)
    return found


def test_the_file_in_the_folder_gives_defaults_and_options_win(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "normwise.toml").write_text(f'data = "wine"\nbudget = "none"\nworkers = 1\n{SMALL}')
    plan = planned(cli)
    assert (plan["data"]["name"], plan["seeds"], plan["workers"], plan["budget"]) == ("wine", 2, 1, None)
    assert plan["settings"][0]["variants"] == ["none", "batch"]
    plan = planned(cli, "--seeds", "4", "--norm", "none,layer", "--budget", "1h", "--workers", "2")
    assert (plan["seeds"], plan["workers"], plan["budget"]) == (4, 2, 3600.0)
    assert plan["settings"][0]["variants"] == ["none", "layer"]


def test_a_section_of_pyproject_is_read_from_below_and_its_paths_are_its_own(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "\n".join(f"{i},{i % 7},{'ab'[i % 2]}" for i in range(60))
    (tmp_path / "train.csv").write_text(f"x,z,kind\n{rows}\n")
    (tmp_path / "pyproject.toml").write_text(f'[tool.normwise]\ndata = "train.csv"\ntarget = "kind"\n{SMALL}')
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert planned(cli)["data"]["target"] == "kind"
    # Other data has other columns: what the file says of its own does not follow.
    plan = planned(cli, "wine")
    assert (plan["data"]["name"], plan["settings"][0]["steps"]) == ("wine", 3)


def test_the_nearest_file_counts_and_other_projects_are_passed_by(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "normwise.toml").write_text("seeds = 7")
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.other]\nx = 1")
    assert find_config(tmp_path / "a" / "b").fields == {"seeds": 7}
    (tmp_path / "a" / "normwise.toml").write_text("seeds = 8")
    assert find_config(tmp_path / "a" / "b").fields == {"seeds": 8}
    assert find_config(tmp_path).fields == {"seeds": 7}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("normwise.toml", "seeds = ", "normwise.toml must be readable TOML"),
        ("pyproject.toml", "[tool]\nnormwise = 3", "must be a table"),
        ("normwise.toml", "sead = 3", "'sead'"),
        ("normwise.toml", 'budget = "soon"', "--budget"),
    ],
)
def test_a_broken_file_is_one_message(cli: Cli, tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    answer = cli("compare", "wine", "--dry-run")
    assert (answer.code, answer.out) == (2, "")
    assert len([line for line in answer.err.splitlines() if line.startswith("error: ")]) == 1
    assert words in answer.message


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("3m", 180.0), ("1h30m", 5400.0), ("1.5m", 90.0), (" None ", None)]
)
def test_budgets_are_times_as_people_write_them(text: str, seconds: float | None) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "3", "m", "0s", "-3m", "3 min", "soon", "1m1h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match="--budget"):
        parse_budget(text)
