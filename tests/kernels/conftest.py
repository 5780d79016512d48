"""The native binding, in the cache of whoever runs the tests: the compiler takes long for it."""

from __future__ import annotations

import pytest

from normwise.kernels.cpu import library
from normwise.kernels.cpu.build import build_native


@pytest.fixture(scope="session")
def native_built() -> None:
    """The native binding is there, and stays; it is compiled unless it has been."""
    if library.native() is None:
        build_native()
        library._load_native.cache_clear()
        library.native.cache_clear()
    assert library.native() is not None, library.why_missing("native")


@pytest.fixture(params=["portable", "native"])
def binding(request: pytest.FixtureRequest, native_built: None) -> str:
    """Each of the two bindings by name."""
    return str(request.param)
