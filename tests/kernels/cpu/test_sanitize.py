"""The kernels under the address and the undefined behaviour sanitizers: no byte outside of their buffers.

Needs a C++ compiler with sanitizers, as the set-up for development has one: without it these tests fail and say so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from normwise.kernels.cpu import build

_DRIVER = Path(__file__).with_name("sanitize.cpp")


def compiled(source: Path, folder: Path, sanitizers: str, *flags: str) -> Path:
    """A program with sanitizers."""
    command = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    assert command is not None, "the kernels' memory accesses are checked with a C++ compiler: install one"
    flags = (
        "-std=c++17",
        "-g1",
        "-w",
        "-pthread",
        "-fno-sanitize-recover=all",
        f"-fsanitize={sanitizers}",
        *flags,
    )
    output = folder / "driver"
    done = subprocess.run(
        [*command.split(), *flags, f"-I{build.sources()}", str(source), "-o", str(output)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calls of every kernel."""
    # Unoptimized and with nothing inlined: a minute less for the compiler, and the same accesses.
    fast = ("-O0", "-Dalways_inline=unused")
    return compiled(_DRIVER, tmp_path_factory.mktemp("sanitize"), "address,undefined", *fast)


def test_no_kernel_leaves_its_buffers(driver: Path) -> None:
    done = subprocess.run([driver], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(re.fullmatch(r"(\d+) calls\n", done.stdout)[1]) > 4000


def test_the_sanitizer_sees_one_element_too_many(driver: Path) -> None:
    done = subprocess.run([driver, "overflow"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr


@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_threads_take_and_give_blocks(tmp_path: Path, sanitizers: str) -> None:
    driver = compiled(Path(__file__).with_name("sanitize_blocks.cpp"), tmp_path, sanitizers, "-O1")
    done = subprocess.run([driver], capture_output=True, text=True, check=False)
    gives = 1 if sys.platform == "linux" else 0  # elsewhere malloc serves
    assert (done.returncode, done.stdout) == (0, f"{gives} 1 1\n"), done.stderr
