"""The question's defaults from a file that lies with the user's project: `normwise.toml`, or `[tool.normwise]`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Config:
    """What a configuration file says, and where it is."""

    fields: dict[str, Any]
    path: Path | None


def find_config(folder: Path) -> Config:
    """The nearest `normwise.toml`, or `pyproject.toml` with `[tool.normwise]`, in the folder or above it.

    Raises:
        ArgumentError: it cannot be read.
    """
    for place in (folder, *folder.parents):
        own, project = place / NAME, place / PROJECT
        if own.is_file():
            return Config(_rooted(_read(own), place, folder), own)
        if project.is_file():
            fields = _read(project).get("tool", {}).get("normwise")
            if fields is not None:
                _check_table(fields, project)
                return Config(_rooted(fields, place, folder), project)
    return Config({}, None)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArgumentError(
            explain(
                "compare", f"{path.name} must be readable TOML", f"{path} ({error})", "repair or remove it"
            )
        ) from None


def _check_table(fields: object, path: Path) -> None:
    if not isinstance(fields, dict):
        raise ArgumentError(
            explain("compare", f"[tool.normwise] of {path} must be a table", type(fields).__name__)
        )


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
