"""The kernels under the address and the undefined behaviour sanitizers: no byte outside of their buffers.

Needs a C++ compiler with sanitizers, as the set-up for development has one: without it these tests fail and say so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from normwise.kernels.cpu import build

_DRIVER = Path(__file__).with_name("sanitize.cpp")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled driver."""
    command = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    assert command is not None, "the kernels' memory accesses are checked with a C++ compiler: install one"
    folder = tmp_path_factory.mktemp("sanitize")
    # Unoptimized and with nothing inlined: a minute less for the compiler, and the same accesses.
    flags = ("-std=c++17", "-O0", "-g1", "-w", "-Dalways_inline=unused", "-fno-sanitize-recover=all")
    sanitizers = "-fsanitize=address,undefined"
    output = folder / "driver"
    done = subprocess.run(
        [*command.split(), *flags, sanitizers, f"-I{build.sources()}", str(_DRIVER), "-o", str(output)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return output


def test_no_kernel_leaves_its_buffers(driver: Path) -> None:
    done = subprocess.run([driver], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(re.fullmatch(r"(\d+) calls\n", done.stdout)[1]) > 4000


def test_the_sanitizer_sees_one_element_too_many(driver: Path) -> None:
    done = subprocess.run([driver, "overflow"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr
