"""Importing and building a user's model leaves nothing behind, and its identity is its source."""

from __future__ import annotations

import os
import random
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from normwise.models import load_user_model, paired_draws

NOISY = """
import os, random, subprocess, sys, warnings
import numpy as np
import torch
from torch import nn
import noisy_sibling
print("python prints")
subprocess.run([sys.executable, "-c", "print('a child prints')"])
warnings.warn("old", DeprecationWarning)
torch.manual_seed(1); random.seed(1); np.random.seed(1)
torch.set_default_dtype(torch.float64); torch.set_num_threads(3); torch.set_grad_enabled(False)
os.chdir("/")
def build(out_features):
    print("building prints")
    warnings.warn("older", UserWarning)
    torch.manual_seed(1)
    torch.rand(3), np.random.rand(), random.random()
    return nn.Linear(20, out_features)
"""


def states() -> list[object]:
    return [
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # type: ignore[union-attr]
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        os.getcwd(),
        list(sys.path),
        list(sys.argv),
        sys.stdin,
        torch.Tensor.backward,
        warnings.filters[:],
    ]


def test_prints_go_to_stderr_and_no_state_changes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "noisy_sibling.py").write_text("")
    (tmp_path / "net.py").write_text(NOISY)
    before = states()
    with torch.no_grad():
        user = load_user_model(str(tmp_path / "net.py"))
        model = user.build((20,), 3)
        assert not torch.is_grad_enabled()
    assert states() == before
    assert all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "python prints\na child prints\n" in captured.err
    assert "building prints" in captured.err
    assert not list(tmp_path.rglob("*.pyc"))


def test_a_module_of_the_same_name_that_was_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, value in (("mine", 1), ("theirs", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "shared_name.py").write_text(f"VALUE = {value}")
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    mine = __import__("shared_name")
    file = tmp_path / "theirs" / "net.py"
    file.write_text(
        "from torch import nn\nfrom shared_name import VALUE\nassert VALUE == 2\nnet = nn.Linear(20, 3)"
    )
    load_user_model(str(file)).build((20,), 3)
    assert sys.modules["shared_name"] is mine
    assert mine.VALUE == 1
    del sys.modules["shared_name"]


def write(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)


def test_the_fingerprint_is_of_all_the_source_that_the_model_is_made_of(tmp_path: Path) -> None:
    text = "from torch import nn\nfrom parts import K\ndef build(width=3):\n    import late\n    return nn.Linear(K, 1)"
    sources = {"net": text, "parts": "K = 20", "late": "x = 1", "unrelated": "y = 1"}
    write(tmp_path / "a", **sources)
    where = f"{tmp_path / 'a' / 'net.py'}:build"
    first = load_user_model(where).fingerprint
    assert load_user_model(where).fingerprint == first
    assert load_user_model(where, {"width": "4"}).fingerprint != first
    seen = {first}
    for name in ("net", "parts", "late"):
        write(tmp_path / "a", **{**sources, name: sources[name] + "\n# another"})
        seen.add(load_user_model(where).fingerprint)
    assert len(seen) == 4
    write(tmp_path / "a", **{**sources, "unrelated": "y = 2"})
    assert load_user_model(where).fingerprint == first
    write(tmp_path / "b", **sources)
    assert load_user_model(f"{tmp_path / 'b' / 'net.py'}:build").fingerprint == first


def test_an_edited_model_is_imported_anew(tmp_path: Path) -> None:
    write(
        tmp_path,
        net="from torch import nn\nfrom sizes import K\ndef build():\n    return nn.Linear(20, K)",
        sizes="K = 3",
    )
    where = str(tmp_path / "net.py")
    old = load_user_model(where)
    write(tmp_path, sizes="K = 4")
    new = load_user_model(where)
    assert [user.build((20,), k).out_features for user, k in ((old, 3), (new, 4))] == [3, 4]


def test_draws_depend_on_seed_and_shape_alone_and_the_global_state_is_kept() -> None:
    def draw(seed: int, *, extra: bool) -> list[torch.Tensor]:
        with paired_draws(seed):
            if extra:
                torch.manual_seed(5)
                torch.rand(7)
            return [torch.rand(3, 4), torch.rand(3, 4), torch.empty(2).normal_(), torch.randperm(9)]

    state = torch.get_rng_state()
    plain, more, other = draw(0, extra=False), draw(0, extra=True), draw(1, extra=False)
    assert all(torch.equal(a, b) for a, b in zip(plain, more, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(plain, other, strict=True))
    assert not torch.equal(plain[0], plain[1])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_generator_of_its_own_is_left_to_the_model() -> None:
    with paired_draws(0):
        drawn = torch.rand(4, generator=torch.Generator().manual_seed(3))
    assert torch.equal(drawn, torch.rand(4, generator=torch.Generator().manual_seed(3)))
