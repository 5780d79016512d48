"""The modules of a user's model: importable while its code runs, and in nobody's way afterwards."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from normwise.models.user_place import Place
from normwise.models.user_words import is_local


class Home:
    """Imports from the folders of one model.

    Two models may both import a `utils` of their own: each gets its own, and whoever imported a module of that
    name before keeps it.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._modules: dict[str, ModuleType] = {}
        self._offered = _offered(place.roots) | {place.module.partition(".")[0]}

    @property
    def files(self) -> tuple[Path, ...]:
        """The sources of the model's own modules that were imported so far."""
        return tuple(dict.fromkeys(f for m in self._modules.values() if (f := _file_of(m)) is not None))

    def load(self) -> ModuleType:
        """Import the model's module anew, with all that it imports from its folders."""
        with self.inside():
            return self._import()

    def again(self) -> ModuleType | None:
        """Run the model's module once more, for a fresh copy of what it makes; None for an installed one."""
        with self.inside():
            known = self._modules.get(self._place.module)
            spec = None if known is None else known.__spec__
            if spec is None or spec.loader is None:
                return None
            module = importlib.util.module_from_spec(spec)
            sys.modules[self._place.module] = module
            spec.loader.exec_module(module)
            return module

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Run the block with the model's folders on `sys.path` and its modules in place."""
        path, before = list(sys.path), dict(sys.modules)
        # Its own folder comes first, as when the file is started; the others only where nothing else answers.
        front = [self._place.top, *self._place.roots[:1]]
        first = list(dict.fromkeys(str(root) for root in front))
        last = [str(root) for root in self._place.roots if str(root) not in first]
        sys.path[:] = [*first, *(p for p in path if p not in first + last), *last]
        for name in [name for name, module in before.items() if self._gives_way(name, module)]:
            del sys.modules[name]
        sys.modules.update(self._modules)
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path[:] = path
            for name, module in list(sys.modules.items()):
                if before.get(name) is not module and self._is_own(module):
                    self._modules[name] = module
            for name, module in before.items():
                sys.modules[name] = module

    def _import(self) -> ModuleType:
        place = self._place
        if place.packaged or place.file is None:
            return importlib.import_module(place.module)
        spec = importlib.util.spec_from_file_location(place.module, place.file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{place.file} has no loader")
        module = importlib.util.module_from_spec(spec)
        sys.modules[place.module] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[place.module]
            raise
        return module

    def _gives_way(self, name: str, module: ModuleType) -> bool:
        """Whether a module that somebody imported stands where one of the model's own would."""
        top = name.partition(".")[0]
        if top not in self._offered or top in sys.stdlib_module_names or top in ("__main__", "normwise"):
            return False
        file = _file_of(module)
        return file is not None and is_local(file, (Path(file.anchor),))

    def _is_own(self, module: object) -> bool:
        file = _file_of(module)
        return file is not None and is_local(file, self._place.roots)


def _offered(roots: tuple[Path, ...]) -> frozenset[str]:
    """Names that can be imported from the folders."""
    found = (entry for root in roots for entry in root.iterdir())
    return frozenset(entry.stem for entry in found if entry.suffix == ".py" or entry.is_dir())


def _file_of(module: object) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if isinstance(file, str) else None
