from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "train.csv"
        path.write_bytes(text.encode())
        return path

    return write


@pytest.fixture
def write_idx() -> Callable[..., None]:
    def write(path: Path, array: np.ndarray, header: bytes | None = None) -> None:
        head = header or bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
        data = head + array.astype(np.uint8).tobytes()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)

    return write


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Twelve grey 6×4 images in the folders "class 2" and "class 10"."""
    random = np.random.default_rng(0)
    for name in ("class 10", "class 2"):
        (tmp_path / "shots" / name).mkdir(parents=True)
        for index in range(6):
            pixels = random.integers(0, 256, (4, 6), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "shots" / name / f"{index}.png")
    return tmp_path / "shots"
