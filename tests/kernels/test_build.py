"""The native extension, with a small source in its place: the real one takes the compiler 40 s."""

from __future__ import annotations

import importlib.util
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from normwise.errors import BuildError, NormwiseError
from normwise.kernels.cpu import build

# Finds torch's headers, Python's and ours, and links torch's library.
_SOURCE = """
#include <Python.h>
#include <torch/version.h>
#include "abi.h"
namespace at { int get_num_threads(); }
static PyObject* answer(PyObject*, PyObject*) {
    return Py_BuildValue("(sii)", TORCH_VERSION, at::get_num_threads(), ANSWER);
}
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, nullptr}, {nullptr, nullptr, 0, nullptr}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_native", nullptr, -1, methods};
#define INIT2(name) PyInit_##name
#define INIT(name) INIT2(name)
PyMODINIT_FUNC INIT(TORCH_EXTENSION_NAME)() { return PyModule_Create(&definition); }
"""


@pytest.fixture
def csrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Path:
    """A folder of sources that is taken for ours, and a cache where nothing has been compiled."""
    (own_cache / "native").unlink(missing_ok=True)
    folder = tmp_path / "csrc"
    folder.mkdir()
    (folder / "native.cpp").write_text(_SOURCE)
    (folder / "abi.h").write_text("#define ANSWER 42\n")
    monkeypatch.setattr(build, "sources", lambda: folder)
    return folder


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What was compiled; the compiler is one that writes a file at once."""
    calls: list[Path] = []

    def compile_(compiler: list[str], folder: Path, target: Path) -> None:
        calls.append(target)
        target.write_bytes(b"machine code")

    monkeypatch.setattr(build, "_compile", compile_)
    monkeypatch.setattr(build, "_compiler", lambda: ["c++"])
    return calls


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("_native", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_compiled_against_this_torch_once(csrc: Path, own_cache: Path) -> None:
    assert build.native_path() is None
    told: list[str] = []
    path = build.build_native(tell=told.append)
    assert path == build.native_path()
    assert path.is_relative_to(own_cache / "native")
    assert torch.__version__ in path.parent.name
    assert len(told) == 1
    assert f"torch {torch.__version__}" in told[0]
    version, threads, answer = load(path).answer()
    assert torch.__version__.startswith(version)
    assert (threads, answer) == (torch.get_num_threads(), 42)

    before = path.stat()
    assert build.build_native(tell=told.append) == path
    assert (len(told), path.stat().st_ino) == (1, before.st_ino)
    assert sorted(file.suffix for file in path.parent.iterdir()) == [".lock", ".so"]  # no scratch is left


def test_force_compiles_again(csrc: Path, compiled: list[Path]) -> None:
    path = build.build_native()
    assert build.build_native(force=True) == path
    assert compiled == [path, path]


def test_another_source_torch_or_flag_is_another_file(
    csrc: Path, compiled: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build.build_native()
    (csrc / "kernels_float.cpp").write_text("// not included by native.cpp")
    assert build.native_path() == first
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "2.99.0")
        assert build.native_path() is None
    with monkeypatch.context() as patch:
        patch.setattr(torch.version, "git_version", "another")
        assert build.native_path() is None
    with monkeypatch.context() as patch:
        patch.setattr(build, "_FLAGS", (*build._FLAGS, "-O1"))
        assert build.native_path() is None
    (csrc / "abi.h").write_text("#define ANSWER 43\n")
    assert build.native_path() is None
    assert build.build_native() != first


def test_of_two_at_once_one_compiles(csrc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiling, both_asked = threading.Event(), threading.Event()
    calls: list[Path] = []
    asked: list[None] = []

    def compiler() -> list[str]:  # is looked for once it was seen that there is no file
        asked.append(None)
        if len(asked) == 2:
            both_asked.set()
        return ["c++"]

    def compile_(compiler: list[str], folder: Path, target: Path) -> None:
        calls.append(target)
        compiling.set()
        assert both_asked.wait(10)
        target.write_bytes(b"machine code")

    monkeypatch.setattr(build, "_compiler", compiler)
    monkeypatch.setattr(build, "_compile", compile_)
    first = threading.Thread(target=build.build_native)
    first.start()
    assert compiling.wait(10)
    path = build.build_native()
    first.join()
    assert calls == [path]


@pytest.mark.parametrize("chosen", [None, "/nonexistent/c++"])
def test_without_a_compiler_it_says_so(
    csrc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str | None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if chosen is None:
        monkeypatch.delenv("CXX", raising=False)
    else:
        monkeypatch.setenv("CXX", chosen)
    with pytest.raises(BuildError, match=r"a C\+\+20 compiler must be there. Got (none on the PATH|CXX=)"):
        build.build_native()
    assert build.native_path() is None


def test_the_compiler_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", f"{shutil.which('env')} c++ -pipe")
    assert build._compiler() == [shutil.which("env"), "c++", "-pipe"]


def test_a_failed_compilation_leaves_nothing_and_shows_the_complaint(csrc: Path, own_cache: Path) -> None:
    (csrc / "native.cpp").write_text("int f() { return undeclared; }\n")
    with pytest.raises(BuildError, match="undeclared") as caught:
        build.build_native()
    assert isinstance(caught.value, NormwiseError)
    assert isinstance(caught.value, RuntimeError)
    assert build.native_path() is None
    assert [file.suffix for file in (own_cache / "native").rglob("*") if file.is_file()] == [".lock"]


def test_a_source_that_changes_while_it_is_compiled_is_not_kept(
    csrc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text(f'#!/bin/sh\necho "#define ANSWER 43" > {csrc}/abi.h\nexec c++ "$@"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(BuildError, match="must not change meanwhile"):
        build.build_native()
    assert build.native_path() is None


def test_a_folder_that_cannot_be_written_is_named(
    csrc: Path, compiled: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NORMWISE_CACHE", str(tmp_path / "file"))
    with pytest.raises(BuildError, match="must be writable"):
        build.build_native()
    assert compiled == []


def test_an_install_without_sources_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "sources", lambda: None)
    assert build.native_path() is None
    with pytest.raises(BuildError, match="reinstall normwise"):
        build.build_native()


def test_the_sources_of_a_checkout_are_found() -> None:
    folder = build.sources()
    assert folder is not None
    assert (folder / "abi.h").is_file()


def test_a_user_without_a_home_is_told_what_to_set(csrc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home directory")

    monkeypatch.delenv("NORMWISE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(BuildError, match="set NORMWISE_CACHE"):
        build.build_native()


def test_the_folder_is_its_owners_alone(csrc: Path, compiled: list[Path]) -> None:
    # Machine code that this process will load: nobody else may put it there.
    path = build.build_native()
    assert path.parent.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_uid == os.getuid()
