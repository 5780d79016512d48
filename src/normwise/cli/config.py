"""Defaults from a file that lies with the user's project: `normwise.toml`, or `[tool.normwise]`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from normwise.errors import ArgumentError, explain

NAME = "normwise.toml"
PROJECT = "pyproject.toml"

OF_THE_DATA = (
    "target",
    "task",
    "drop",
    "group",
    "time",
    "test_data",
    "image_size",
    "metric",
    "margin",
    "goal",
)
"""Fields that speak of one data set and mean nothing for another."""

_PATHS = ("data", "test_data", "model")
_DIAGNOSE = "diagnose"


@dataclass(frozen=True)
class Config:
    """What a configuration file says, and where it is.

    Attributes:
        fields: of a question.
        path: the file; None without one.
        diagnose: the table `[diagnose]`.
    """

    fields: dict[str, Any]
    path: Path | None
    diagnose: dict[str, Any] = field(default_factory=dict)


def find_config(folder: Path, who: str = "compare") -> Config:
    """The nearest `normwise.toml`, or `pyproject.toml` with `[tool.normwise]`, in the folder or above it.

    Args:
        folder: where to begin.
        who: the command that asks, for messages.

    Raises:
        ArgumentError: it cannot be read.
    """
    for place in (folder, *folder.parents):
        own, project = place / NAME, place / PROJECT
        if own.is_file():
            return _config(_read(own, who), own, folder, who)
        if project.is_file():
            fields = _read(project, who).get("tool", {}).get("normwise")
            if fields is not None:
                _check_table(fields, f"[tool.normwise] of {project}", who)
                return _config(fields, project, folder, who)
    return Config({}, None)


def _config(table: dict[str, Any], path: Path, folder: Path, who: str) -> Config:
    diagnose = table.get(_DIAGNOSE, {})
    _check_table(diagnose, f"[{_DIAGNOSE}] of {path}", who)
    fields = {name: value for name, value in table.items() if name != _DIAGNOSE}
    return Config(_rooted(fields, path.parent, folder), path, diagnose)


def _read(path: Path, who: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        must = f"{path.name} must be readable TOML"
        raise ArgumentError(explain(who, must, f"{path} ({error})", "repair or remove it")) from None


def _check_table(fields: object, name: str, who: str) -> None:
    if not isinstance(fields, dict):
        raise ArgumentError(explain(who, f"{name} must be a table", type(fields).__name__))


def _rooted(fields: dict[str, Any], place: Path, folder: Path) -> dict[str, Any]:
    """Paths in a file are relative to the file."""
    if place == folder:
        return fields
    return {
        name: str(place / value)
        if name in _PATHS and isinstance(value, str) and _is_there(place, value)
        else value
        for name, value in fields.items()
    }


def _is_there(place: Path, value: str) -> bool:
    path, _, _ = value.partition(".py:")
    return (place / (path + ".py" if ".py:" in value else value)).exists()
