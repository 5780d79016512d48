"""`normwise list`."""

from __future__ import annotations

import json as json_format
from collections.abc import Callable
from typing import Annotated, Any

import typer

from normwise.errors import ArgumentError, explain, unknown_name


def _data() -> dict[str, Any]:
    from normwise.data import known

    return known()


def _layers() -> dict[str, Any]:
    from normwise import layers
    from normwise.layers.catalog import FAMILIES

    found: dict[str, Any] = {}
    for family, entries in FAMILIES.items():
        for entry in entries:
            text = (getattr(layers, entry.names[0]).__doc__ or "").strip()
            found[", ".join(entry.names)] = {
                "summary": text.splitlines()[0] if text else "",
                "family": family,
                "formula": entry.formula,
                "paper": entry.paper,
                "inputs": entry.inputs,
                "fused": entry.fused,
                "kernel": entry.kernel,
                "when": entry.when,
                "evidence": entry.evidence,
            }
    return found


def _studies() -> dict[str, Any]:
    from normwise.compare.spec import STUDIES

    return dict(STUDIES)


def _norms() -> dict[str, Any]:
    from normwise.norms import KINDS, OWN, OWN_KIND

    own = {OWN: f"{OWN_KIND.title}; of a model of yours, with what it normalizes by itself"}
    return {name: kind.summary for name, kind in KINDS.items()} | own


_LISTS: dict[str, Callable[[], dict[str, Any]]] = {
    "data": _data,
    "layers": _layers,
    "norms": _norms,
    "studies": _studies,
}


def list_names(
    what: Annotated[
        str,
        typer.Argument(
            help="data, layers, norms or studies.",
            show_default=False,
            autocompletion=lambda incomplete: [name for name in _LISTS if name.startswith(incomplete)],
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Layers as a page, with formulas and what the evidence says.")
    ] = False,
) -> None:
    """Show the names that commands understand: data sets, layers, normalizations of a comparison, studies."""
    if what not in _LISTS:
        raise unknown_name("list", "list", what, _LISTS)
    if markdown:
        _as_page(what)
        return
    entries = _LISTS[what]()
    if json:
        if what == "layers":
            entries = {name: entry for names, entry in entries.items() for name in names.split(", ")}
        print(json_format.dumps(entries, ensure_ascii=False, indent=1))
    elif what == "layers":
        _show_layers(entries)
    else:
        width = max(len(name) for name in entries)
        for name, words in entries.items():
            print(f"{name:<{width}}  {words}")


def _as_page(what: str) -> None:
    from normwise.layers.catalog import FAMILIES, markdown

    if what != "layers":
        raise ArgumentError(explain("list", "`--markdown` is for layers", what))
    print(markdown(FAMILIES), end="")


def _show_layers(entries: dict[str, Any]) -> None:
    """Two lines a layer: what it is; then inputs, fused form and paper."""
    family = ""
    for names, entry in entries.items():
        if entry["family"] != family:
            family = entry["family"]
            print(f"\n{family}")
        fused = [f"fused: {entry['fused'].replace('#', '…')}"] if entry["fused"] else []
        print(f"{names}  {entry['summary']}")
        print("    " + "; ".join([entry["inputs"], *fused, entry["paper"]]))
    print("\nFormulas, when to use which, and what the evidence says: normwise list layers --markdown")
