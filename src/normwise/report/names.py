"""What things are called in a sentence: variants in full, settings, metrics, numbers of seeds."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

from normwise.norms import KINDS, OWN, OWN_KIND
from normwise.report.numbers import count, listing
from normwise.results import Comparison

# As a label, and as the subject of a sentence.
_PENALTIES = {
    "dropout": ("dropout {}", "dropout {}"),
    "L1": ("L1 penalty {}", "an L1 penalty of {}"),
    "L2": ("L2 penalty {}", "an L2 penalty of {}"),
    "decay": ("weight decay {}", "weight decay {}"),
}
_AUGMENTATIONS = (
    *("flip", "shift", "rotate", "scale", "crop", "brightness", "erase"),
    *("randaugment", "trivialaugment", "augmix", "noise", "swap", "drop", "mixup", "cutmix", "mosaic"),
)
_INITIALIZATIONS = {
    "he": "He",
    "xavier": "Xavier",
    "orthogonal": "orthogonal",
    "lsuv": "LSUV",
    "gaussian": "Gaussian",
    "own": "the model's own",
}
_METRICS = {
    "auc": "AUC",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "macro_f1": "macro F1",
    "log_loss": "log loss",
    "balanced_accuracy": "balanced accuracy",
}
_WORDS = [
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]


def full_name(variant: str, *, subject: bool = False) -> str:
    """Spell the short name of a variant out; what is not known stays as it is written.

    Args:
        variant: the name of a variant.
        subject: whether a sentence begins with it, so that a penalty needs its article.

    >>> full_name("batch after + dropout 0.2"), full_name("L2 0.001"), full_name("none")
    ('Batch Normalization after the activation with dropout 0.2', 'L2 penalty 0.001', 'the plain network')
    """
    norm, added = "", []
    for place, part in enumerate(variant.split(" + ")):
        if place == 0 and (spelled := _norm(part)) is not None:
            norm = spelled
        elif part == "output" and norm:
            norm += ", also on the output"
        else:
            added.append(_addition(part, subject=subject and not norm))
    if not norm:
        return listing(added) or "the plain network"
    if norm.endswith("the output") and added:
        norm += ","
    return f"{norm} with {listing(added)}" if added else norm


def _norm(part: str) -> str | None:
    """Return the full name of a normalization, "" for none, None where it is no normalization."""
    spec, _, place = part.partition(" ")
    name, _, number = spec.partition(":")
    if part == "none":
        return ""
    if part == OWN:
        return OWN_KIND.title
    kind = KINDS.get(name)
    if kind is None or place not in ("", "after"):
        return None
    counted = kind.number.counted(int(number)) if kind.number is not None and number.isdigit() else ""
    return kind.title + (f" ({counted})" if counted else "") + " after the activation" * (place == "after")


def _addition(part: str, *, subject: bool) -> str:
    word, _, value = part.partition(" ")
    if word in _PENALTIES and re.fullmatch(r"[\d.e+-]+", value):
        return _PENALTIES[word][subject].format(value)
    kind, times, factor = part.partition(" ×")
    if kind in _INITIALIZATIONS:
        return f"{_INITIALIZATIONS[kind]} initialization{times}{factor}"
    steps = [step.partition(":") for step in part.split(", ")]
    if all(name in _AUGMENTATIONS for name, _, _ in steps):
        return f"augmentation ({', '.join(f'{name} {amount}'.strip() for name, _, amount in steps)})"
    return part


def start(text: str) -> str:
    """Begin with a capital letter.

    >>> start("the plain network")
    'The plain network'
    """
    return text[:1].upper() + text[1:]


def display(setting: str) -> str:
    """Return the name of a setting as a heading: "mlp, depth 8" becomes "MLP, depth 8"."""
    head, comma, tail = setting.partition(",")
    return (head.upper() if head in ("mlp", "cnn") else head) + comma + tail


def this_setting(setting: str) -> str:
    """Return the name of a setting inside a sentence.

    >>> this_setting("mlp, depth 8"), this_setting("net.py:build")
    ('this MLP (depth 8)', 'net.py:build')
    """
    head, _, tail = setting.partition(", ")
    name = f"this {head.upper()}" if head in ("mlp", "cnn") else head
    return f"{name} ({tail})" if tail else name


def metric_name(metric: str) -> str:
    """Return a metric as it is written.

    >>> metric_name("rmse"), metric_name("accuracy")
    ('RMSE', 'accuracy')
    """
    return _METRICS.get(metric, metric.replace("_", " "))


def spelled(n: int, noun: str) -> str:
    """Write a small number of things in words.

    >>> spelled(5, "seed"), spelled(1, "variant"), spelled(20, "seed")
    ('five seeds', 'one variant', '20 seeds')
    """
    return f"{_WORDS[n]} {noun}{'' if n == 1 else 's'}" if 0 <= n < len(_WORDS) else count(n, noun)


def columns(text: str) -> int:
    """Return how many columns of a fixed-width font a text takes: a Chinese sign takes two."""
    return sum(
        0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF")
        for sign in text
    )


def clipped(text: str, room: int) -> str:
    """Return a text on one line, cut to so many columns.

    >>> clipped("a long name", 8), clipped("short", 8)
    ('a long …', 'short')
    """
    text = " ".join(text.split())
    if columns(text) <= room:
        return text
    while text and columns(text) > room - 1:
        text = text[:-1]
    return f"{text}…"


def readable(comparison: Comparison) -> Comparison:
    """Return a comparison whose metric is called as people write it."""
    return replace(comparison, data=replace(comparison.data, metric=metric_name(comparison.data.metric)))
