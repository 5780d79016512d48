"""`normwise list`."""

from __future__ import annotations

import json as json_format
from collections.abc import Callable
from typing import Annotated

import typer

from normwise.errors import unknown_name


def _data() -> dict[str, str]:
    from normwise.data import known

    return known()


def _layers() -> dict[str, str]:
    from normwise import layers

    found = {name: (getattr(layers, name).__doc__ or "").strip() for name in layers.__all__}
    return {name: text.splitlines()[0] if text else "" for name, text in sorted(found.items())}


def _studies() -> dict[str, str]:
    from normwise.compare.spec import STUDIES

    return dict(STUDIES)


_LISTS: dict[str, Callable[[], dict[str, str]]] = {"data": _data, "layers": _layers, "studies": _studies}


def list_names(
    what: Annotated[
        str,
        typer.Argument(
            help="data, layers or studies.",
            show_default=False,
            autocompletion=lambda incomplete: [name for name in _LISTS if name.startswith(incomplete)],
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show the names that commands understand: data sets, layers, studies."""
    if what not in _LISTS:
        raise unknown_name("list", "list", what, _LISTS)
    entries = _LISTS[what]()
    if json:
        print(json_format.dumps(entries, ensure_ascii=False, indent=1))
        return
    width = max(len(name) for name in entries)
    for name, words in entries.items():
        print(f"{name:<{width}}  {words}")
