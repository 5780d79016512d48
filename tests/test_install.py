"""What `pip install .` leaves behind: with a compiler, without one, and where the compilation fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import normwise

_ROOT = Path(normwise.__path__[0]).parents[1]
_BUILT = _ROOT / "src" / "normwise" / "kernels" / "cpu" / f"_portable{sysconfig.get_config_var('EXT_SUFFIX')}"

# A module with the parts that the real one has, that compiles in seconds.
_KERNEL = """
#ifdef _OPENMP
#include <omp.h>
#endif
#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
int JOIN(threads_, NW_ISA)() {
    int threads = 0;
#pragma omp parallel reduction(+ : threads)
    threads += 1;
    return threads;
}
"""
_MODULE = """
#include <Python.h>
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_portable", nullptr, -1};
int threads_baseline();
PyMODINIT_FUNC PyInit__portable() {
    PyObject* module = PyModule_Create(&definition);
    PyModule_AddIntConstant(module, "threads", threads_baseline());
    return module;
}
"""

# In the place of nanobind, whose own sources would be most of the build.
_NANOBIND = """
function(nanobind_add_module name)
  list(REMOVE_ITEM ARGN NB_STATIC NOMINSIZE)
  Python_add_library(${name} MODULE WITH_SOABI ${ARGN})
endfunction()
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is installed from, with small kernels in the place of ours."""
    folder = tmp_path / "tree"
    folder.mkdir()
    (tmp_path / "nanobind").mkdir()
    (tmp_path / "nanobind" / "nanobind-config.cmake").write_text(_NANOBIND)
    for name in ("pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(_ROOT / name, folder / name)
    shutil.copytree(
        _ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")
    )
    csrc = folder / "csrc"
    csrc.mkdir()
    (csrc / "kernels_threads.cpp").write_text(_KERNEL)
    (csrc / "portable.cpp").write_text(_MODULE)
    for name in ("blocks.cpp", "dispatch.cpp"):
        (csrc / name).write_text("")
    (csrc / "abi.h").write_text("")
    return folder


def build(folder: Path, kind: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What pip calls for `pip install .`, into `folder/../out`."""
    program = f"import scikit_build_core.build as b; b.build_{kind}({str(folder.parent / 'out')!r})"
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SKBUILD_CMAKE_DEFINE": f"nanobind_DIR={folder.parent / 'nanobind'}", **variables},
    )


def wheel(folder: Path, **variables: str) -> tuple[str, list[str]]:
    """Tag and contents of the wheel that is built from a folder."""
    done = build(folder, "wheel", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (folder.parent / "out").iterdir()
    return path.stem.split("-", 2)[2], zipfile.ZipFile(path).namelist()


@pytest.fixture
def hidden(tmp_path: Path) -> dict[str, str]:
    """An environment in which no compiler is found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("cmake", "ninja"):
        found = shutil.which(
            tool, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        )
        assert found is not None, tool
        (folder / tool).symlink_to(found)
    return {"PATH": str(folder), "CXX": "/nonexistent/c++", "CC": "/nonexistent/cc"}


def test_a_wheel_holds_the_kernels_their_sources_and_no_other_library(tree: Path) -> None:
    tag, names = wheel(tree)
    assert tag.startswith(f"{sys.implementation.name[:2]}{sys.version_info.major}{sys.version_info.minor}-")
    libraries = [name for name in names if ".so" in name or name.endswith((".dll", ".dylib", ".pyd"))]
    assert libraries == [f"normwise/kernels/cpu/{_BUILT.name}"]
    assert "normwise/kernels/cpu/csrc/abi.h" in names
    assert "normwise/layers/batch_norm.py" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests", "csrc"))]


def test_where_the_compilation_fails_the_wheel_is_pure_and_whole(tree: Path, tmp_path: Path) -> None:
    # As one that is too old for these sources: it compiles what CMake tries it with, and nothing else.
    compiler = tmp_path / "c++"
    compiler.write_text('#!/bin/sh\ncase "$*" in *csrc*) exit 1;; esac\nexec c++ "$@"\n')
    compiler.chmod(0o755)
    # What a checkout compiled for itself may be older than its sources, and is no part of a wheel.
    (tree / "src" / "normwise" / "kernels" / "cpu" / _BUILT.name).write_bytes(b"stale")
    tag, names = wheel(tree, CXX=str(compiler))
    assert tag == "py3-none-any"
    assert not [name for name in names if ".so" in name or "csrc" in name]
    installed = {path.relative_to(tree / "src").as_posix() for path in (tree / "src").rglob("*.py")}
    assert installed <= set(names)


def test_who_builds_for_others_can_ask_for_a_failure(tree: Path, hidden: dict[str, str]) -> None:
    done = build(tree, "wheel", NORMWISE_REQUIRE_KERNELS="1", **hidden)
    assert done.returncode != 0
    assert "CMake configuration failed" in done.stdout + done.stderr
    assert not list(tree.parent.glob("out/*.whl"))


def test_without_a_compiler_it_installs_and_runs_and_the_doctor_says_what_it_costs(
    tree: Path, tmp_path: Path, hidden: dict[str, str]
) -> None:
    # Other packages are those of this environment; normwise is the one that is installed, not the checkout: a folder
    # that a .pth file names has no say in what its own .pth files name.
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    site = Path(
        subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    )
    (site / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    # Without isolation what builds is what the extra `dev` has installed, and nothing is fetched.
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install"]
    done = subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--no-index", "--ignore-installed", str(tree)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **hidden},
    )
    assert done.returncode == 0, done.stderr
    assert (site / "normwise" / "__init__.py").is_file()

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-P", *command],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, **hidden},
        )

    layer = run(
        "-c",
        "import normwise as nw, torch; torch.manual_seed(0); x = torch.randn(8, 3, requires_grad=True);"
        "nw.BatchNormAct1d(3, activation='relu', dropout=0.5)(x).square().sum().backward();"
        "print(nw.__file__, bool(x.grad.isfinite().all()))",
    )
    assert layer.stdout.split() == [str(site / "normwise" / "__init__.py"), "True"], layer.stderr

    doctor = run(
        "-c", "import sys; sys.argv = ['normwise', 'doctor', '--json']; import normwise.cli as c; c.main()"
    )
    assert doctor.returncode == 1, doctor.stderr
    first = json.loads(doctor.stdout)["findings"][0]
    assert first["level"] == "problem"
    assert "no CPU kernels: no C++ compiler was found" in first["what"]
    assert "dropout about 20 times slower" in first["cost"]
    assert "apt install g++" in first["remedy"]


def test_the_source_distribution_holds_what_a_build_needs(tree: Path) -> None:
    done = build(tree, "sdist")
    assert done.returncode == 0, done.stderr
    (path,) = (tree.parent / "out").iterdir()
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"CMakeLists.txt", "pyproject.toml", "LICENSE", "README.md"} <= names
    assert {path.relative_to(tree).as_posix() for path in (tree / "csrc").iterdir()} <= names
    assert "src/normwise/__init__.py" in names


def test_this_checkout_has_the_kernels_where_there_is_a_compiler() -> None:
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    assert _BUILT.is_file() == (compiler is not None), "make kernels"


@pytest.mark.parametrize("first", ["torch", "kernels"])
def test_torch_and_the_kernels_share_one_pool_of_threads(first: str) -> None:
    program = f"""
import importlib.util, json, sys
def kernels():
    spec = importlib.util.spec_from_file_location("_portable", {str(_BUILT)!r})
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
def torch():
    import torch
    torch.ones(1 << 20).sum()
for load in {("torch, kernels" if first == "torch" else "kernels, torch")}:
    load()
with open("/proc/self/maps") as file:
    paths = {{line.split()[-1] for line in file if "/" in line}}
print(json.dumps(sorted(path for path in paths if path.rsplit("/")[-1].startswith(("libgomp", "libomp", "libiomp")))))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 1


def test_the_kernels_name_the_library_as_torch_does_and_no_folder() -> None:
    content = _BUILT.read_bytes()
    assert b"libgomp.so.1\0" in content
    assert str(_ROOT).encode() not in content
    assert b"$ORIGIN" not in content
