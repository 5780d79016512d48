"""`normwise doctor`."""

from __future__ import annotations

import dataclasses
import json as json_format
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from normwise.cli.doctor_facts import Facts
    from normwise.cli.doctor_findings import Finding


def doctor(
    json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show what this install runs on, what in it costs speed or correctness, and what to do. Exit code 1: a problem."""
    from normwise.cli.doctor_facts import gather
    from normwise.cli.doctor_findings import findings

    facts = gather()
    found = findings(facts)
    if json:
        answer = {"facts": dataclasses.asdict(facts), "findings": [dataclasses.asdict(one) for one in found]}
        print(json_format.dumps(answer, ensure_ascii=False, indent=1))
    else:
        _show(facts, found)
    if any(one.level == "problem" for one in found):
        raise typer.Exit(1)


def _show(facts: Facts, found: list[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, state in _rows(facts):
        table.add_row(name, escape(state))
    console = Console(highlight=False)
    console.print(table)
    for one in found:
        console.print()
        style = "bold red" if one.level == "problem" else "bold yellow"
        # Not wrapped: what is to be done is there to be copied.
        console.print(f"[{style}]{one.level}[/] {escape(one.what)}.", soft_wrap=True)
        console.print(f"  costs: {escape(one.cost)}.", soft_wrap=True)
        console.print(f"  do:    {escape(one.remedy)}", soft_wrap=True)
    if not found:
        console.print("\nNothing to do.")


def _rows(facts: Facts) -> list[tuple[str, str]]:
    """The table: what, and its state in words."""
    torch, portable, native, pools = (
        facts.loaded.get(step, {}) for step in ("torch", "portable", "native", "pools")
    )
    return [
        ("versions", ", ".join(f"{name} {version or 'missing'}" for name, version in facts.versions.items())),
        ("CPU", f"{facts.cpu}" + (f", torch uses {torch['isa']}" if "isa" in torch else "")),
        ("threads", f"torch starts {torch.get('threads', '?')}; cores that may be used: {facts.cores}"),
        ("CPU kernels", _kernels(facts, "portable", f"there, {portable.get('isa')}", "missing")),
        (
            "native extension",
            _kernels(facts, "native", f"built: {native.get('path')}", "not built for this torch"),
        ),
        ("linear layers", _products(native.get("onednn"))),
        ("OpenMP", _openmp(pools.get("pools"))),
        ("allocator", _allocator(facts.allocator)),
        (
            "environment",
            ", ".join(f"{name}={value}" for name, value in facts.variables.items()) or "nothing set",
        ),
        *((f"extra {name}", _extra(missing)) for name, missing in facts.missing.items()),
    ]


def _kernels(facts: Facts, step: str, there: str, missing: str) -> str:
    if step not in facts.loaded:
        return "not reached"
    if facts.error(step) is not None:
        return "broken"
    return missing if facts.loaded[step]["path"] is None else there


def _products(onednn: bool | None) -> str:
    if onednn is None:
        return "unknown"
    return (
        "large products run in oneDNN, faster here than torch's BLAS" if onednn else "torch's BLAS multiplies"
    )


def _openmp(pools: list[str] | None) -> str:
    if pools is None:
        return "unknown on this system"
    return f"{len(pools)} loaded: {', '.join(pools)}" if pools else "none loaded"


def _allocator(name: str | None) -> str:
    if name is None:
        return "unknown"
    if name.startswith("glibc"):
        return f"{name}; torch's large tensors are mapped anew at every call until normwise.tune_allocator() is called"
    return name


def _extra(missing: list[str]) -> str:
    return f"without {', '.join(missing)}" if missing else "installed"
