"""From a recommended variant to programs."""

from __future__ import annotations

from typing import Literal

from normwise.compare.network_spec import Initialization, Network
from normwise.compare.snippets.keras import keras
from normwise.compare.snippets.pytorch import pytorch
from normwise.compare.snippets.recipe import Recipe
from normwise.compare.snippets.user_model import user_model
from normwise.compare.variant import Variant
from normwise.results import Snippet


def snippets(
    network: Network,
    variant: Variant,
    initialization: Initialization,
    *,
    in_shape: tuple[int, ...],
    out_features: int,
    task: Literal["classification", "regression"],
    classes: tuple[str, ...],
    optimizer: str,
    lr: float,
    batch_size: int,
    steps: int,
) -> tuple[Snippet, Snippet]:
    """Write a variant as whole programs: the layers that were compared, weights, optimizer, loss and loop.

    Each runs as it is, on made-up data in a line that says what goes there.

    Args:
        network: at the depth that was compared.
        variant: what is recommended.
        initialization: what it was trained from.
        in_shape: of one input, (F,) or (C, H, W).
        out_features: number of classes, or 1 for regression.
        task: what the target asks for.
        classes: names of the classes, for a comment; () for regression.
        optimizer: "sgd", "adam" or "adamw".
        lr: the tuned learning rate.
        batch_size: rows of a batch.
        steps: of the training.

    Returns:
        The program for PyTorch and the one for Keras 3. A text is "" where the framework has no such layer (Weight
        Normalization in Keras) or no such model (one of the user's); the note says why, or what else differs.

    Raises:
        ArgumentError: the network does not fit the data or the normalization.

    >>> fixed = {"optimizer": "sgd", "lr": 0.1, "batch_size": 64, "steps": 250}
    >>> data = {"in_shape": (20,), "out_features": 2, "task": "classification", "classes": ("no", "yes")}
    >>> network = Network(kind="mlp", widths=(64,))
    >>> code, _ = snippets(network, Variant(norm="batch"), Initialization(), **data, **fixed)
    >>> "    nn.Linear(20, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU()," in code.text.splitlines()
    True
    """
    recipe = Recipe(
        network,
        variant,
        initialization,
        in_shape=tuple(in_shape),
        out_features=out_features,
        regression=task == "regression",
        classes=tuple(classes),
        optimizer=optimizer,
        lr=lr,
        batch_size=batch_size,
        steps=steps,
    )
    if network.kind == "model":
        return user_model(recipe), Snippet(
            "Keras", "", "The model is a PyTorch module; Keras cannot build it."
        )
    return pytorch(recipe), keras(recipe)
