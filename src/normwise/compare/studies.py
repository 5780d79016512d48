"""Questions by name: what each asks where nothing else was asked for.

A study only fills in fields that were left open; whatever was given by name stays as it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from normwise._optional import require
from normwise.compare.network_spec import Initialization, Network
from normwise.compare.variant import NORMS, Variant, product

ARTICLE_DATA = "breast_cancer"
ARTICLE_COLUMNS = 20


@dataclass(frozen=True)
class Study:
    """The fields of a question, and what a budget takes from it first.

    Attributes:
        fields: values of `Spec` for what was left open.
        shed_first: names of variants in the order in which they go when time is short.
    """

    fields: dict[str, Any]
    shed_first: tuple[str, ...] = ()


def article_drops() -> tuple[str, ...]:
    """The columns of `ARTICLE_DATA` that the articles leave away: all but the first twenty."""
    datasets = require("sklearn.datasets", extra="compare", who="the study article")
    names = datasets.load_breast_cancer().feature_names
    return tuple(str(name) for name in names[ARTICLE_COLUMNS:])


def find(name: str, *, images: bool, classes: int) -> Study:
    """The study of a known name for data of that kind; `classes` is 0 for regression."""
    return _STUDIES[name](images, classes)


def _norm(images: bool, classes: int) -> Study:
    return Study({}, shed_first=tuple(reversed(NORMS[2:])))


def _regularize(images: bool, classes: int) -> Study:
    augmented = [Variant(augment=("shift", "rotate"))] if images else []
    l2 = [Variant(l2=strength) for strength in (1e-3, 1e-2, 1e-1)]
    # A weight is pulled by lr·λ a step: under 1e-4 nothing reaches zero within a few hundred steps.
    l1 = [Variant(l1=strength) for strength in (1e-4, 1e-3, 1e-2)]
    dropped = [Variant(dropout=rate) for rate in (0.2, 0.5)]
    batch, both = Variant(norm="batch"), Variant(norm="batch", dropout=0.2)
    variants = (Variant(), *l2, *l1, *dropped, *augmented, batch, both)
    shed = (dropped[1], both, l2[0], l1[0], *augmented, l2[2], l1[2])
    return Study(
        {
            "variants": variants,
            "train_shares": (1.0, 0.25, 0.1),
            "initializations": (Initialization(),),
            "networks": (Network(kind="mlp"),),
            "scan_seeds": 3,
            "probe": False,
        },
        shed_first=tuple(variant.name for variant in shed),
    )


def _init(images: bool, classes: int) -> Study:
    schemes = ("xavier", "orthogonal", "lsuv", "he:0.3", "he:0.1", "he:3")
    plain = tuple(Variant(init=scheme) for scheme in schemes)
    batch = (Variant(norm="batch"), Variant(norm="batch", init="he:0.1"))
    return Study(
        {"variants": (Variant(), *plain, *batch), "initializations": (Initialization(),)},
        shed_first=(plain[3].name, plain[5].name, batch[1].name, plain[1].name),
    )


def _batch(images: bool, classes: int) -> Study:
    return Study(
        {
            "variants": product(norms=["none", "batch", "group", "layer"]),
            "batch_sizes": (2, 4, 8, 32, 128),
            "initializations": (Initialization(),),
            "networks": (Network(kind="cnn" if images else "mlp"),),
            "scan_seeds": 3,
            "probe": False,
        },
        shed_first=("layer", "group"),
    )


def _position(images: bool, classes: int) -> Study:
    variants = (
        Variant(),
        Variant(norm="batch"),
        Variant(norm="batch", position="after"),
        Variant(norm="batch", norm_output=True),
    )
    return Study({"variants": variants, "probe": False}, shed_first=())


def _depth(images: bool, classes: int) -> Study:
    return Study(
        {
            "variants": product(norms=["none", "batch", "layer"]),
            "depths": (2, 4, 8, 16),
            "initializations": (Initialization(),),
            "networks": (Network(kind="cnn" if images else "mlp"),),
            "scan_seeds": 3,
        },
        shed_first=("layer",),
    )


def _article(images: bool, classes: int) -> Study:
    network = Network(kind="mlp", widths=(64, 32), single_logit=classes == 2)
    fields = _position(images, classes).fields
    return Study(fields | {"networks": (network,), "batch_sizes": (32,), "optimizers": ("adam",)})


_STUDIES: dict[str, Callable[[bool, int], Study]] = {
    "norm": _norm,
    "regularize": _regularize,
    "init": _init,
    "batch": _batch,
    "position": _position,
    "depth": _depth,
    "article": _article,
}


def own_model(takes_norm: bool) -> Study:
    """What is asked of a model of the user's, which may or may not take a normalization."""
    fields: dict[str, Any] = {
        "initializations": (Initialization(scheme="own"), Initialization(scheme="own", scale=0.1)),
    }
    if takes_norm:
        return Study(fields, shed_first=tuple(reversed(NORMS[2:])))
    variants = (Variant(), Variant(weight_decay=1e-2), Variant(l2=1e-3), Variant(l1=1e-4))
    fields |= {
        "variants": variants,
        "optimizers": ("sgd", "adam"),
        "batch_sizes": (16, 64),
        "probe": False,
    }
    return Study(fields, shed_first=(variants[3].name, variants[1].name))
