"""From what was typed to the fields of a question; nothing here imports torch."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from normwise.errors import ArgumentError, explain

Value = TypeVar("Value")


def words(typed: Sequence[str] | None) -> list[str]:
    """Several values of an option, whether it was repeated or they were separated by commas.

    >>> words(["none,batch", "layer"])
    ['none', 'batch', 'layer']
    """
    return [part.strip() for text in typed or () for part in text.split(",") if part.strip()]


def decimals(option: str, typed: Sequence[str] | None) -> list[float]:
    """Several numbers of an option."""
    return _convert(option, typed, float, "numbers")


def integers(option: str, typed: Sequence[str] | None) -> list[int]:
    """Several whole numbers of an option."""
    return _convert(option, typed, int, "whole numbers")


def _convert(
    option: str, typed: Sequence[str] | None, kind: Callable[[str], Value], must: str
) -> list[Value]:
    values = []
    if typed and not words(typed):
        raise ArgumentError(explain("compare", f"`{option}` must be {must}", "nothing"))
    for word in words(typed):
        try:
            values.append(kind(word))
        except ValueError:
            raise ArgumentError(explain("compare", f"`{option}` must be {must}", repr(word))) from None
    return values


def read_spec(path: Path) -> dict[str, Any]:
    """The question in a TOML file, or in the run.json of a run with what that run left open and left out.

    Raises:
        ArgumentError: there is no such file, or it cannot be read.
    """
    if (path / "run.json").is_file():
        path = path / "run.json"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or "text in another encoding"
        raise ArgumentError(
            explain("compare", "`--spec` must be a readable text file", f"{path} ({problem})")
        ) from None
    try:
        if path.suffix == ".json":
            content = json.loads(text)
            fields = _of_run(content) if isinstance(content, dict) and "spec" in content else content
        else:
            fields = tomllib.loads(text)
    except ValueError as error:  # what both parsers raise
        raise ArgumentError(
            explain("compare", "`--spec` must be TOML or JSON", f"{path} ({error})")
        ) from None
    if not isinstance(fields, dict):
        raise ArgumentError(
            explain("compare", "`--spec` must hold options by name", f"{type(fields).__name__} in {path}")
        )
    return fields


def _of_run(content: dict[str, Any]) -> Any:
    budget = content.get("budget")
    if not isinstance(content["spec"], dict):
        return content["spec"]  # the caller says what must hold
    return {
        **content["spec"],
        "resolved": content.get("resolved"),
        "budget": "none" if budget is None else f"{budget}s",
    }
