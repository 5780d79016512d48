"""One line for the first thing that a validation found wrong, in the words of whoever typed it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydantic import ValidationError

from normwise.errors import ArgumentError, UnknownNameError, explain, unknown_name

OPTIONS = {
    "lrs": "--lr",
    "batch_sizes": "--batch-size",
    "depths": "--depth",
    "optimizers": "--optimizer",
    "scheme": "--init",
    "scale": "--init",
    "initializations": "--init",
    "kind": "--network",
    "networks": "--network",
    "widths": "--width",
    "norm": "--norm",
    "augment": "--augment",
    "variants": "--variant",
}
"""Fields whose option on the command line has another name; the others are called alike."""

NAMED = {"optimizers": "optimizer", "kind": "network"}
"""What one value of a field is called."""

NEARBY = {
    "norm": "norms",
    "lr": "lrs",
    "batch_size": "batch_sizes",
    "depth": "depths",
    "optimizer": "optimizers",
    "init": "initializations",
    "network": "networks",
    "variant": "variants",
}
"""Names that people try for fields that take several values."""


def first_problem(error: ValidationError, known: Iterable[str]) -> ArgumentError | UnknownNameError:
    """The error to raise for what pydantic found.

    Args:
        error: of a question or a part of it.
        known: the fields there are, for the nearest one to an unknown name.
    """
    problem = error.errors()[0]
    names = [part for part in problem["loc"] if isinstance(part, str)]
    must = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if not names:
        return ArgumentError(f"compare: {must}.")
    field = names[-1]
    if problem["type"] == "extra_forbidden":
        if len(names) > 1:
            return ArgumentError(
                explain("compare", f"`{names[0]}` has no field {field!r}", repr(problem["input"]))
            )
        if field in NEARBY:
            return UnknownNameError(f"compare: unknown field {field!r}. Did you mean {NEARBY[field]!r}?")
        return unknown_name("compare", "field", field, [*known, "norms"])
    if problem["type"] == "literal_error" and isinstance(problem["input"], str):
        names = re.findall(r"'([^']+)'", str(problem["ctx"]["expected"]))
        return unknown_name("compare", NAMED.get(field, field), problem["input"], names)
    option = OPTIONS.get(field, f"--{field.replace('_', '-')}")
    return ArgumentError(explain("compare", f"`{field}` ({option}): {must}", repr(problem.get("input"))))
