"""Questions at the edge of what can be asked end in an answer and a report, like any other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]

QUESTIONS: dict[str, tuple[str, ...]] = {
    "no plain network": ("wine", "--norm", "batch,layer"),
    "one seed": ("wine", "--norm", "none,batch", "--seeds", "1"),
    "a linear model": ("wine", "--spec", "linear.toml"),
    "one hidden layer": ("wine", "--norm", "none,layer", "--depth", "1"),
    "batches of one": ("wine", "--norm", "none,layer,weight", "--batch-size", "1"),
    "one step": ("wine", "--norm", "none,batch", "--steps", "1"),
    "the whole part in a batch": ("wine", "--norm", "none,batch", "--batch-size", "106", "--epochs", "2"),
    "another metric, less is better": ("wine", "--norm", "none,rms", "--metric", "log_loss"),
    "a share of the variance": ("diabetes", "--norm", "none,batch", "--metric", "r2"),
    "a goal that nobody reaches": ("wine", "--norm", "none,batch", "--goal", "100", "--steps", "1"),
    "every regularization": (
        *(
            "wine",
            "--variant",
            "norm=none",
            "--variant",
            "norm=batch,position=after,dropout=0.5,l1=0.01,l2=0.01",
        ),
        *("--variant", "norm=weight,weight_decay=0.1,l1=0.01,norm_output=true", "--optimizer", "sgd,adamw"),
    ),
    "every initialisation": (
        "wine",
        "--norm",
        "none,weight",
        "--init",
        "lsuv,orthogonal,gaussian:0.5,xavier:10",
    ),
    "images, augmented, on a residual network": (
        *(
            "digits",
            "--network",
            "cnn",
            "--channels",
            "4,4",
            "--head",
            "8",
            "--residual",
            "--norm",
            "none,instance",
        ),
        *("--augment", "none,shift+erase"),
    ),
    "a norm that has no place in one of the networks": (
        *("digits", "--network", "mlp,cnn", "--channels", "4", "--head", "8", "--norm", "none,instance"),
    ),
    "everything diverges": ("diabetes", "--norm", "none,batch", "--lr", "1e30", "--steps", "8"),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_an_odd_question_ends_in_an_answer(cli: Cli, tmp_path: Path, name: str) -> None:
    (tmp_path / "q.toml").write_text("probe = false\n")
    (tmp_path / "linear.toml").write_text(
        'networks = [{kind = "mlp", widths = []}]\nnorms = ["none", "layer"]\n'
    )
    data, *given = QUESTIONS[name]
    typed = set(given)
    extra: list[str] = []
    for option, value in (("--steps", "4"), ("--seeds", "2"), ("--scan-seeds", "1"), ("--lr", "0.05")):
        if option not in typed and not (option == "--steps" and "--epochs" in typed):
            extra += [option, value]
    if "--spec" not in typed:
        extra += ["--spec", "q.toml"]
    if not typed & {"--network", "--spec"}:
        extra += ["--width", "8,8,8"]
    answer = cli("compare", data, *given, *extra, "--out", "run", "--json")
    assert answer.code == (1 if name == "everything diverges" else 0), answer.err
    content = json.loads(answer.out)
    assert content
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
