"""Where a user's model is: a file or a module, and a name in it."""

from __future__ import annotations

import ast
import difflib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from normwise.errors import ArgumentError, explain
from normwise.models.user_words import one_line

WHO = "model"
_FORM = "write file.py:name or package.module:name"
_ROOT_MARKS = (".git", "pyproject.toml", "setup.py", "setup.cfg", "requirements.txt")
_NOT_SOURCE = {
    ".ipynb": "a notebook cannot be imported: export the model's cells to a .py file",
    ".pt": "this holds weights, not the code that builds the network: name the .py file",
    ".pth": "this holds weights, not the code that builds the network: name the .py file",
    ".ckpt": "this holds weights, not the code that builds the network: name the .py file",
    ".safetensors": "this holds weights, not the code that builds the network: name the .py file",
    ".onnx": "normwise trains torch modules: name the .py file that builds one",
    ".h5": "normwise trains torch modules: name the .py file that builds one",
    ".keras": "normwise trains torch modules: name the .py file that builds one",
}


@dataclass(frozen=True)
class Place:
    """A file or an installed module, and a name in it.

    Attributes:
        title: what messages call the model, "resnet.py:ResNet".
        file: the source, or None for an installed module, whose file its import tells.
        module: the name to import it under.
        packaged: whether it is imported as part of a package, for its relative imports.
        name: of the object in it, "" where none was given.
        top: the folder that `module` is imported from.
        roots: folders from which its own modules are imported, the nearest first.
    """

    title: str
    file: Path | None
    module: str
    packaged: bool
    name: str
    top: Path
    roots: tuple[Path, ...]


def find_place(where: str) -> Place:
    """Read "file.py:name" or "pkg.mod:name"; the name may be left away.

    Raises:
        ArgumentError: it has neither form, there is no such file, or the file is no Python source.
    """
    path, name = _parted(where.strip())
    if name and not all(part.isidentifier() for part in name.split(".")):
        bare = re.match(r"[A-Za-z_][\w.]*(?=\()", name)
        hint = f"write {path}:{bare[0]}, and arguments as --model-args NAME=VALUE" if bare else _FORM
        raise ArgumentError(explain(WHO, "what follows the colon must be a name", repr(name), hint))
    if path.endswith(".py") or any(mark in path for mark in "/\\") or Path(path).suffix in _NOT_SOURCE:
        return _file_place(path, name)
    if not path or not all(part.isidentifier() for part in path.split(".")):
        raise ArgumentError(explain(WHO, "a model must be named by file or module", repr(where), _FORM))
    here = Path.cwd().resolve()
    stem = here.joinpath(*path.split("."))
    found = next((f for f in (stem.with_name(stem.name + ".py"), stem / "__init__.py") if f.is_file()), None)
    title = path + (f":{name}" if name else "")
    if found is not None and _module_name(path) != path and "." not in path:
        return _file_place(str(found.relative_to(here)), name)  # a library's module goes by that name
    if found is not None:
        return Place(title, found.resolve(), path, True, name, here, (here,))
    return Place(title, None, path, True, name, here, (here,))


def parse_source(file: Path, title: str) -> ast.Module:
    """The syntax tree of a file.

    Raises:
        ArgumentError: it is no Python source, with the line.
    """
    try:
        return ast.parse(file.read_bytes(), filename=str(file))
    except SyntaxError as error:
        code = f": {one_line(error.text, 60)}" if error.text and error.text.strip() else ""
        got = f"{one_line(error.msg)} in {file.name}, line {error.lineno}{code}"
        raise ArgumentError(
            explain(title, "the file must be Python source", got, f"python {file.name} says more")
        ) from None
    except (ValueError, OSError) as error:
        raise ArgumentError(
            explain(title, "the file must be Python source", one_line(str(error)), "save it as UTF-8 text")
        ) from None


def _parted(where: str) -> tuple[str, str]:
    path, colon, name = where.rpartition(":")
    if not colon or re.match(r"^[\\/]", name):  # a drive's letter is no module
        return where, ""
    return path.rstrip(":"), name.strip()


def _file_place(path: str, name: str) -> Place:
    file = Path(path).expanduser()
    if file.is_dir():
        inside = sorted(f.name for f in file.glob("*.py"))[:5]
        hint = f"name a file in it, such as {inside[0]}" if inside else _FORM
        raise ArgumentError(explain(WHO, "a model is named by a Python file", f"the folder {path}", hint))
    if file.suffix in _NOT_SOURCE:
        raise ArgumentError(explain(WHO, "a model is named by a Python file", path, _NOT_SOURCE[file.suffix]))
    if not file.is_file():
        others = [f.name for f in file.parent.glob("*.py")] if file.parent.is_dir() else []
        near = difflib.get_close_matches(file.name, others, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}" if near else f"relative paths start from {Path.cwd()}"
        raise ArgumentError(explain(WHO, "the file must exist", f"no file {path}", hint))
    if file.suffix != ".py":
        raise ArgumentError(explain(WHO, "a model is named by a Python file", path, _FORM))
    file = file.resolve()
    title = file.name + (f":{name}" if name else "")
    tree = parse_source(file, title)
    relative = any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))
    top = file.parent
    while relative and (top / "__init__.py").is_file():
        top = top.parent
    if top == file.parent and relative:
        top = top.parent  # a folder without __init__.py is a package too
    module = ".".join(file.relative_to(top).with_suffix("").parts) if relative else _module_name(file.stem)
    return Place(title, file, module, relative, name, top, _roots(file, top))


def _module_name(stem: str) -> str:
    """The file's own name, so that siblings that import it back find it, unless that would hide a library."""
    taken = stem in sys.stdlib_module_names or stem in ("torch", "numpy", "normwise")
    return f"_model_{stem}" if taken or not stem.isidentifier() else stem


def _roots(file: Path, top: Path) -> tuple[Path, ...]:
    """Folders that the imports of a file from somebody's repository may mean."""
    here = Path.cwd().resolve()
    marked = next((p for p in file.parents if any((p / mark).exists() for mark in _ROOT_MARKS)), None)
    roots = [file.parent, top, *([here] if file.is_relative_to(here) else []), *([marked] if marked else [])]
    return tuple(dict.fromkeys(roots))
