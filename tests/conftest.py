"""What holds for every test: nothing is kept beyond it."""

from __future__ import annotations

from pathlib import Path

import pytest

from normwise.kernels.cpu import library

# Before any test hides the cache: the native binding is tested where it is built, as a user's process would find it.
library.native()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, not that of whoever runs it."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("NORMWISE_CACHE", str(folder))
    return folder
