"""What holds for every test: nothing is kept beyond it, and nothing that was drawn before it matters."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from normwise._cache import cache_folder

_USERS = cache_folder()


@pytest.fixture(autouse=True)
def own_draws() -> None:
    """The same random numbers whatever ran before."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, not that of whoever runs it."""
    folder = tmp_path_factory.mktemp("cache")
    if _USERS is not None and (_USERS / "native").is_dir():  # the native binding is tested where it is built
        (folder / "native").symlink_to(_USERS / "native")
    monkeypatch.setenv("NORMWISE_CACHE", str(folder))
    return folder
