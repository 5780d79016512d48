"""What holds for every test: nothing is kept beyond it."""

from __future__ import annotations

from pathlib import Path

import pytest

from normwise._cache import cache_folder

_USERS = cache_folder()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, not that of whoever runs it."""
    folder = tmp_path_factory.mktemp("cache")
    if _USERS is not None and (_USERS / "native").is_dir():  # the native binding is tested where it is built
        (folder / "native").symlink_to(_USERS / "native")
    monkeypatch.setenv("NORMWISE_CACHE", str(folder))
    return folder
