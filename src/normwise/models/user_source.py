"""The source of a user's model, and a hash of it: an edited model is another question."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from normwise.models.user_words import is_local


def fingerprint(files: Iterable[Path], roots: Sequence[Path], name: str, arguments: Mapping[str, str]) -> str:
    """sha256 in hexadecimal over the sources, the object's name and the arguments.

    Args:
        files: the defining file first, then modules known to be its own; those that they import from `roots` are
            found in their text, wherever in it the import stands.
        roots: folders that imports are looked up in; a file counts by its path within them, so that a moved
            repository is the same model.
        name: of the object.
        arguments: of its builder, by name.
    """
    digest = hashlib.sha256(repr((name, sorted(arguments.items()))).encode())
    for label, content in sorted(_sources(files, roots).items()):
        digest.update(f"\0{label}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _sources(files: Iterable[Path], roots: Sequence[Path]) -> dict[str, bytes]:
    waiting = list(files)
    # Of an installed package, whose imports lead everywhere, the modules beside the defining one count.
    beside = waiting[0].parent if waiting and not is_local(waiting[0], roots) else None
    found: dict[Path, bytes] = {}
    while waiting:
        file = waiting.pop()
        if file in found or not file.is_file():
            continue
        found[file] = file.read_bytes()
        for other in _imports(file, found[file], roots):
            if other.parent == beside if beside is not None else is_local(other, roots):
                waiting.append(other)
    return {_label(file, roots): content for file, content in found.items()}


def _label(file: Path, roots: Sequence[Path]) -> str:
    root = next((root for root in roots if file.is_relative_to(root)), file.parent)
    return file.relative_to(root).as_posix()


def _imports(file: Path, content: bytes, roots: Sequence[Path]) -> Iterator[Path]:
    """Files in the folders that a source imports."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # compiled, or a sibling that is never imported
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _modules(alias.name.split("."), roots)
        elif isinstance(node, ast.ImportFrom):
            start = file.parents[node.level - 1 : node.level] if node.level else roots
            parts = node.module.split(".") if node.module else []
            for alias in node.names:
                yield from _modules([*parts, alias.name], start)


def _modules(parts: Sequence[str], roots: Sequence[Path]) -> Iterator[Path]:
    """The sources of `a`, `a.b` and `a.b.c`, where they are modules."""
    for root in roots:
        for count in range(1, len(parts) + 1):
            stem = root.joinpath(*parts[:count])
            yield from (f for f in (stem.with_suffix(".py"), stem / "__init__.py") if f.is_file())
