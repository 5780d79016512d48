"""The native extension: a C++ autograd node, compiled on this machine against the torch that is installed here.

A binary that uses torch's headers runs with that one torch alone, so no wheel can bring it. It is kept in a cache under
a key of everything that determines it (torch, Python, the machine, the sources, the flags): another torch finds no
file, and never a wrong one. Nothing is compiled unless somebody asks for it, with `normwise build-native` or
`build_native`.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from normwise._cache import cache_folder
from normwise.errors import BuildError, explain

MODULE = "_native"
"""The name under which the compiled module is imported."""

_SOURCE = "native.cpp"
_WHO = "build-native"
_LONGEST = 1800.0  # seconds to wait for another process that compiles the same
_LINES = 12  # of the compiler's complaint, in the error's message
# Rounding as written, as in the portable kernels (see CMakeLists.txt). torch's headers ask for C++20.
_FLAGS = ("-std=c++20", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-ffp-contract=off", "-w")


def sources() -> Path | None:
    """The folder with the C++ sources: beside this file in an installed package, `csrc` in a checkout; else None.

    >>> found = sources()
    >>> found is None or (found / "abi.h").is_file()
    True
    """
    here = Path(__file__).resolve()
    checkout = here.parents[4] if len(here.parents) > 4 else here.parent
    for folder in (here.parent / "csrc", checkout / "csrc"):
        if (folder / _SOURCE).is_file():
            return folder
    return None


def _folder() -> Path | None:
    cache = cache_folder()
    return None if cache is None else cache.absolute() / "native"


def native_path() -> Path | None:
    """The compiled extension for this torch, this Python and these sources; None if it was not built.

    Reads two small files and starts no compiler.

    >>> path = native_path()
    >>> path is None or path.is_file()
    True
    """
    target = _target()
    return target if target is not None and target.is_file() else None


def build_native(force: bool = False, tell: Callable[[str], object] | None = None) -> Path:
    """Compile the native extension against the installed torch, unless that has been done, and return its path.

    Takes about 40 s. The file appears whole or not at all, and of two processes that ask at once, one compiles and the
    other waits.

    Args:
        force: compile even if the file is there.
        tell: is called with a line of progress when the compiler starts.

    Raises:
        BuildError: there is no compiler, no source or no folder to write to, or the compilation failed.
    """
    folder, target = sources(), _target()
    if folder is None:
        raise BuildError(
            explain(
                _WHO,
                f"the source {_SOURCE} must be in the package",
                "an install without CPU kernels",
                "install a C++ compiler and reinstall normwise; `normwise doctor` shows what is there",
            )
        )
    if target is None:
        raise BuildError(
            explain(_WHO, "there must be a cache folder", "a user without a home", "set NORMWISE_CACHE")
        )
    if target.is_file() and not force:
        return target
    compiler = _compiler()
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock"), timeout=_LONGEST):
            if force or not target.is_file():  # the other process may have made it meanwhile
                if tell is not None:
                    tell(
                        f"compiling {_SOURCE} against torch {torch.__version__} with {compiler[0]}, about 40 s …"
                    )
                _compile(compiler, folder, target)
    except Timeout:
        raise BuildError(
            explain(
                _WHO,
                "no other build must run",
                f"one that holds {target.with_suffix('.lock')}",
                "try again later",
            )
        ) from None
    except OSError as error:
        raise BuildError(
            explain(
                _WHO, f"{target.parent} must be writable", str(error), "set NORMWISE_CACHE to another folder"
            )
        ) from None
    return target


def _target() -> Path | None:
    """Where the extension for this torch, Python, machine, and these sources and flags is kept."""
    folder, cache = sources(), _folder()
    if folder is None or cache is None:
        return None
    digest = hashlib.sha256()
    # A local build can change under one version number; git's hash tells it apart.
    for part in (str(torch.version.git_version), platform.machine(), *_FLAGS):
        digest.update(part.encode() + b"\0")
    for name, text in sorted(_included(folder, _SOURCE).items()):
        digest.update(name.encode() + b"\0" + text + b"\0")
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    key = f"torch-{torch.__version__}-{sys.implementation.cache_tag}-{digest.hexdigest()[:16]}"
    return cache / key / f"{MODULE}{suffix}"


def _included(folder: Path, name: str) -> dict[str, bytes]:
    """A source and all of ours that it includes, by name."""
    found: dict[str, bytes] = {}
    waiting = [name]
    while waiting:
        name = waiting.pop()
        path = folder / name
        if name not in found and path.is_file():
            found[name] = path.read_bytes()
            waiting += re.findall(r'^\s*#\s*include\s+"([^"]+)"', found[name].decode(), re.MULTILINE)
    return found


def _compiler() -> list[str]:
    """The C++ compiler as a command: `$CXX`, else the first that is found."""
    if chosen := os.environ.get("CXX"):
        command = shlex.split(chosen)
        if command and shutil.which(command[0]):
            return command
        got = f"CXX={chosen}, which is not there"
    else:
        for name in ("c++", "g++", "clang++"):
            if found := shutil.which(name):
                return [found]
        got = "none on the PATH"
    raise BuildError(
        explain(
            _WHO,
            "a C++20 compiler must be there",
            got,
            "install g++ or clang++ (Debian: apt install g++; macOS: xcode-select --install), or set CXX",
        )
    )


def _command(compiler: list[str], source: Path, output: Path) -> list[str]:
    """The one call that compiles and links.

    What torch.utils.cpp_extension would give, without its import of setuptools: include folders, the ABI of
    torch's C++ library, and its libraries, which are found in the process where torch is loaded: no rpath.
    """
    home = Path(torch.__file__).parent
    include = home / "include"
    link = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    return [
        *compiler,
        *_FLAGS,
        f"-DTORCH_EXTENSION_NAME={MODULE}",
        "-DTORCH_API_INCLUDE_EXTENSION_H",
        f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
        *(
            word
            for folder in (include, include / "torch" / "csrc" / "api" / "include")
            for word in ("-isystem", str(folder))
        ),
        "-isystem",
        sysconfig.get_path("include"),
        str(source),
        "-o",
        str(output),
        f"-L{home / 'lib'}",
        *(f"-l{name}" for name in ("c10", "torch_cpu", "torch", "torch_python")),
        *link,
    ]


def _compile(compiler: list[str], folder: Path, target: Path) -> None:
    # On the file system of the target, so that the last step is a rename, which is whole or not at all.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".part-") as scratch:
        output = Path(scratch) / target.name
        command = _command(compiler, folder / _SOURCE, output)
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0 or not output.is_file():
            complaint = "\n".join((done.stderr or done.stdout).strip().splitlines()[:_LINES])
            raise BuildError(
                explain(
                    _WHO,
                    "the compiler must accept the extension",
                    f"exit code {done.returncode} from {shlex.join(command)}\n{complaint}",
                    "torch's headers need g++ 11 or clang++ 14, or newer, and Python's headers (python3-dev)",
                )
            )
        if _target() != target:  # the key would be that of another text
            raise BuildError(
                explain(
                    _WHO, "the sources must not change meanwhile", f"another text in {folder}", "build again"
                )
            )
        os.replace(output, target)
