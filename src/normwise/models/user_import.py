"""Import the module of a user's model and find the object in it; what goes wrong is explained in one line."""

from __future__ import annotations

import ast
import contextlib
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from normwise.errors import ArgumentError, MissingPackageError, NormwiseError, explain, unknown_name
from normwise.models.user_guard import Stopped, guarded
from normwise.models.user_home import Home
from normwise.models.user_place import WHO, Place
from normwise.models.user_words import UserCodeError, exception_words, listed, one_line

_MAIN = 'move it under if __name__ == "__main__":'
_STOPS = {
    "trains": ("must not train", "a call of backward() or of an optimizer's step()"),
    "asks": ("must not wait for the keyboard", "a call of input()"),
    "parses": ("must not need command-line arguments", "an argument parser that wants some"),
}
_DISTRIBUTIONS = {"cv2": "opencv-python", "PIL": "pillow", "skimage": "scikit-image", "yaml": "pyyaml"}
_DISTRIBUTIONS |= {"sklearn": "scikit-learn", "pytorch_lightning": "pytorch-lightning"}


def import_module(place: Place, home: Home) -> ModuleType:
    """Import it as `guarded` code.

    Raises:
        ArgumentError, MissingPackageError: it cannot be imported, with the place in its code.
    """
    runs = guarded(str(place.file or place.module), training=False, loud=True)
    with explained(place, "the file must import without errors", "importing it"), runs:
        return home.load()


@contextlib.contextmanager
def explained(place: Place, must: str, doing: str, hint: str | None = None) -> Iterator[None]:
    """Turn whatever the user's code raises into one line.

    Args:
        place: of the model.
        must: what was to hold, for an exception that says nothing of its own.
        doing: "importing it" or "calling it".
        hint: for an exception of which nothing else is known.
    """
    try:
        yield
    except NormwiseError as error:
        if str(error).startswith(place.title):
            raise
        # Of a layer of normwise that the code made or called: what is wrong is said, but not where.
        words = one_line(str(error), 1000)
        raise UserCodeError(f"{place.title}: {doing}: {words}.", words) from None
    except Stopped as stop:
        what, got = _STOPS[stop.why]
        said = f" ({one_line(stop.said)})" if stop.said else ""
        raise ArgumentError(explain(place.title, f"{doing} {what}", got + said, _MAIN)) from None
    except SystemExit as error:
        code = "" if error.code is None else f" with {one_line(str(error.code), 80)!r}"
        got = f"a SystemExit{code}"
        hint = f"does it parse arguments or end early? {_MAIN.capitalize()}"
        raise ArgumentError(explain(place.title, f"{doing} must not end the program", got, hint)) from None
    except ModuleNotFoundError as error:
        raise _missing(place, error) from None
    except SyntaxError as error:
        file = Path(error.filename).name if error.filename else "its source"
        got = f"{one_line(error.msg)} in {file}, line {error.lineno}"
        raise ArgumentError(explain(place.title, "what it imports must be Python source", got)) from None
    except Exception as error:
        got = exception_words(error, place.roots)
        raise UserCodeError(explain(place.title, must, got, _hint(error, place) or hint), got) from None


def _hint(error: Exception, place: Place) -> str | None:
    if isinstance(error, ImportError) and error.name == place.module:
        return f"{place.module} is being imported just then: one of its own imports leads back to it"
    if isinstance(error, FileNotFoundError):
        return f"relative paths start from {Path.cwd()}"
    if "CUDA" in str(error) or "NVIDIA" in str(error):
        return "build on the CPU: leave .cuda() and device='cuda' out of the model"
    return None


def _missing(place: Place, error: ModuleNotFoundError) -> NormwiseError:
    name = (error.name or str(error)).partition(".")[0]
    if place.file is None and place.module.partition(".")[0] == name:
        hint = f"a file is named with its ending, as in {name}.py; modules are looked up in {Path.cwd()}"
        return ArgumentError(explain(WHO, "the module must exist", f"no module {place.module!r}", hint))
    near = _folder_with(name, place)
    if near is not None:
        hint = f"start normwise in {near}"
        got = f"an import of {error.name!r}, which lies in {near}"
        return MissingPackageError(explain(place.title, "what it imports must be found", got, hint))
    got = f"an import of {error.name!r}, which is not installed"
    hint = f"pip install {_DISTRIBUTIONS.get(name, name)}"
    return MissingPackageError(explain(place.title, "what it imports must be installed", got, hint))


def _folder_with(name: str, place: Place) -> Path | None:
    """A folder above the model that has a module of that name."""
    above = [] if place.file is None else list(place.file.parents)[1:4]
    return next((f for f in above if (f / f"{name}.py").is_file() or (f / name).is_dir()), None)


def find_object(module: ModuleType, place: Place) -> tuple[str, Any]:
    """The name and the object that a `Place` means.

    Raises:
        UnknownNameError: there is no such name; the nearest ones are said.
        ArgumentError: no name was given and several could be meant, or the object is no model.
    """
    candidates = _candidates(module)
    name = place.name or _only(module, candidates, place)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = candidates or _functions(module)
            if not known:
                got = f"none, and nothing else that builds a network, in {_file_name(module)}"
                raise ArgumentError(explain(place.title, f"{name} must be defined", got))
            raise unknown_name(place.title, f"name in {_file_name(module)}", name, known)
        found = getattr(found, part)
    if isinstance(found, nn.Module) or (callable(found) and not _is_other_class(found)):
        return name, found
    what = "a class that is no torch.nn.Module" if isinstance(found, type) else f"a {type(found).__name__}"
    hint = (
        "these look like weights: name what builds the network"
        if isinstance(found, dict)
        else (f"name one of {', '.join(candidates)}" if candidates else "name what builds the network")
    )
    must = f"{name} must be a torch.nn.Module, or a class or function that builds one"
    raise ArgumentError(explain(place.title, must, what, hint))


def _is_other_class(found: object) -> bool:
    return isinstance(found, type) and not issubclass(found, nn.Module)


def _only(module: ModuleType, candidates: list[str], place: Place) -> str:
    """The name that is meant where none was given."""
    if callable(getattr(module, "build", None)):
        return "build"
    classes = [name for name in candidates if isinstance(getattr(module, name), type)]
    modules = [name for name in candidates if isinstance(getattr(module, name), nn.Module)]
    if len(classes) == 1:
        return classes[0]
    if not classes and len(modules) == 1:
        return modules[0]
    file = place.title
    if not candidates:
        functions = _functions(module)
        raise ArgumentError(
            explain(
                file,
                "the file must define a torch.nn.Module, or a function build() that returns one",
                f"the functions {', '.join(functions)}" if functions else "neither",
                f"name the one that builds the network, as in {file}:{functions[0]}" if functions else None,
            )
        )
    got = listed(candidates)
    hint = f"name one, as in {file}:{candidates[-1]}"
    raise ArgumentError(explain(file, "which of its models is meant must be said", got, hint))


def _candidates(module: ModuleType) -> list[str]:
    """Modules, module classes and the functions beside them, that the source defines, in its order."""
    own = {n: v for n, v in vars(module).items() if not n.startswith("_") and _defined_in(v, module)}
    if not any(_is_model(value) for value in own.values()):
        return []
    return [name for name, value in own.items() if _is_model(value) or _returns(value)]


def _functions(module: ModuleType) -> list[str]:
    own = vars(module).items()
    return [n for n, v in own if _returns(v) and _defined_in(v, module) and not n.startswith("_")]


def _returns(value: object) -> bool:
    """Whether it is a function that may return something: what tests or trains a model builds none."""
    if not inspect.isfunction(value):
        return False
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    except (OSError, TypeError, SyntaxError):  # made by the code
        return True
    return any(isinstance(node, ast.Lambda) or _gives(node) for node in ast.walk(tree))


def _gives(node: ast.AST) -> bool:
    return isinstance(node, ast.Return) and node.value is not None


def _is_model(value: object) -> bool:
    return isinstance(value, nn.Module) or (isinstance(value, type) and issubclass(value, nn.Module))


def _defined_in(value: object, module: ModuleType) -> bool:
    return isinstance(value, nn.Module) or getattr(value, "__module__", None) == module.__name__


def _file_name(module: ModuleType) -> str:
    return Path(module.__file__).name if module.__file__ else module.__name__
