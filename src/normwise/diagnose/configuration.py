"""What a project's configuration file says of diagnoses: the table `[diagnose]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from normwise.diagnose.api import chosen
from normwise.diagnose.suppress import Suppression
from normwise.errors import ArgumentError, explain, unknown_name

_FIELDS = ("select", "ignore", "steps", "suppress")


@dataclass(frozen=True)
class Configuration:
    """Defaults of a project.

    Attributes:
        select, ignore: codes, names or prefixes of rules.
        steps: of the short training; None where the file does not say.
        suppress: findings that may stay.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    steps: int | None = None
    suppress: tuple[Suppression, ...] = ()


def read_configuration(table: Mapping[str, Any], file: str) -> Configuration:
    """Check the table `[diagnose]` of a file. Thresholds are the rules' own: a place is suppressed, with a reason.

    Args:
        table: as it was read.
        file: its name, for messages.

    Raises:
        UnknownNameError: an unknown field or rule.
        ArgumentError: a value of a wrong kind, a suppression without a reason.

    >>> table = {"ignore": ["NW4"], "suppress": [{"rule": "NW101", "layer": "head", "reason": "a pretrained layer"}]}
    >>> read_configuration(table, "normwise.toml").suppress[0].layer
    'head'
    """
    for name in table:
        if name not in _FIELDS:
            raise unknown_name(f"diagnose: {file}", "field of [diagnose]", name, _FIELDS)
    select, ignore = _words(table, "select", file), _words(table, "ignore", file)
    chosen(select, ignore)
    steps = table.get("steps")
    if steps is not None and (not isinstance(steps, int) or isinstance(steps, bool) or steps < 1):
        raise _wrong(file, "`steps` must be a whole number above 0", steps)
    entries = table.get("suppress", [])
    if not isinstance(entries, list):
        raise _wrong(file, "`suppress` must be tables, [[diagnose.suppress]]", entries)
    return Configuration(select, ignore, steps, tuple(_suppression(entry, file) for entry in entries))


def _suppression(entry: Any, file: str) -> Suppression:
    fields = ("rule", "layer", "reason")
    if not isinstance(entry, dict):
        raise _wrong(file, "`suppress` must be tables, [[diagnose.suppress]]", entry)
    for name in entry:
        if name not in fields:
            raise unknown_name(f"diagnose: {file}", "field of [[diagnose.suppress]]", name, fields)
    rule, layer, reason = (entry.get(name, "*" if name == "layer" else "") for name in fields)
    for name, value in zip(fields, (rule, layer, reason), strict=True):
        if not isinstance(value, str) or not value.strip():
            raise _wrong(file, f"a suppression must have a `{name}` in words", entry)
    rules = chosen((rule,), ())
    if len(rules) > 1:
        raise _wrong(file, "a suppression must be of one rule", rule)
    return Suppression(rules[0].code, layer, " ".join(reason.split()))


def _words(table: Mapping[str, Any], name: str, file: str) -> tuple[str, ...]:
    value = table.get(name, [])
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise _wrong(file, f"`{name}` must be a list of rules", value)
    return tuple(value)


def _wrong(file: str, must: str, got: object) -> ArgumentError:
    return ArgumentError(explain(f"diagnose: {file}", must, repr(got)))
