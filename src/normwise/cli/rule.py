"""`normwise rule`."""

from __future__ import annotations

import json as json_format
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from normwise.errors import ArgumentError, explain

if TYPE_CHECKING:
    from normwise.diagnose.rule import Rule

_WIDTH = 100


def rule(
    code: Annotated[
        str | None,
        typer.Argument(help="A code, a name, or the beginning of codes: NW101, NW1.", show_default=False),
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="List all rules.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Say what a rule of `normwise diagnose` finds, why that is bad, with an example and the remedy."""
    from normwise.diagnose.api import chosen

    if (code is None) != all:
        got = "both" if all else "neither"
        must = "a rule's code, or --all, says what is shown"
        raise ArgumentError(explain("rule", must, got, "normwise rule NW101, or normwise rule --all"))
    rules = chosen((code,) if code else (), ())
    if json:
        found = {each.code: _record(each) for each in rules}
        print(json_format.dumps(found, ensure_ascii=False, indent=1))
    else:
        print("\n".join(_page(rules[0]) if len(rules) == 1 else _list(rules)))


def _record(rule: Rule) -> dict[str, Any]:
    from normwise.diagnose.rule import NEEDS

    return {
        "name": rule.name,
        "family": rule.family,
        "summary": rule.summary,
        "why": rule.why,
        "bad": rule.bad,
        "good": rule.good,
        "needs": [NEEDS[name] for name in NEEDS if name in rule.needs],
        "explains": sorted(rule.explains),
        "fixable": rule.fix is not None,
        "source": rule.source,
    }


def _page(rule: Rule) -> Iterator[str]:
    record = _record(rule)
    yield f"{rule.code} {rule.name} ({rule.family})"
    fix = (
        "`normwise diagnose --fix` applies it to a copy." if record["fixable"] else "It is advice: no --fix."
    )
    needs = " and ".join(record["needs"]) or "nothing but the model"
    for title, words in (
        ("What it finds", rule.summary),
        ("Why that is bad", rule.why),
        ("Example", rule.bad),
        ("Remedy", rule.good),
        ("", fix),
        ("Needs", needs),
        ("Explains", ", ".join(record["explains"])),
        ("Source", rule.source),
    ):
        if words:
            code = title in ("Example", "Remedy")
            yield from (["", title] if title else [])
            yield from _indented(words, code=code)


def _indented(words: str, *, code: bool) -> list[str]:
    if code:
        return ["    " + line for line in words.splitlines()]
    return textwrap.wrap(words, _WIDTH, initial_indent="  ", subsequent_indent="  ")


def _list(rules: Sequence[Rule]) -> Iterator[str]:
    family = ""
    width = max(len(each.name) for each in rules)
    for each in rules:
        if each.family != family:
            yield from ([""] if family else [])
            family = each.family
            yield family
        yield f"  {each.code}  {each.name:<{width}}  {each.summary}"
