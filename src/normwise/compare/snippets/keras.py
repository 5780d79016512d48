"""The program for Keras 3."""

from __future__ import annotations

from normwise.compare.snippets.keras_augmentation import augmentation_layers
from normwise.compare.snippets.keras_model import input_shape, model_lines
from normwise.compare.snippets.keras_weights import kernel_arguments
from normwise.compare.snippets.recipe import Recipe
from normwise.compare.snippets.text import call, number, sentence
from normwise.results import Snippet


def keras(recipe: Recipe) -> Snippet:
    """The variant in Keras; no text where Keras does not have the normalization."""
    kind = recipe.variant.kind
    if not kind.keras:
        return Snippet("Keras", "", f"Keras 3 has no layer for {kind.title}.")
    kernels = kernel_arguments(recipe)
    body = [
        *_data(recipe),
        "",
        *kernels.lines,
        *([""] if kernels.lines[-1] else []),
        *model_lines(recipe, kernels),
        "",
        *_training(recipe),
    ]
    heads = ["import math", "", "import keras", "import numpy as np", "from keras import layers", ""]
    return Snippet("Keras", "\n".join([*heads, *body]) + "\n", sentence([*_notes(recipe), *kernels.notes]))


def _data(recipe: Recipe) -> list[str]:
    shape = ", ".join(str(extent) for extent in input_shape(recipe))
    rows = recipe.rows
    target = (
        f"np.random.randn({rows})"
        if recipe.regression
        else f"np.random.randint({recipe.out_features}, size={rows})"
    )
    return [f"# {recipe.data_comment()}", f"X, y = np.random.randn({rows}, {shape}), {target}"]


def _training(recipe: Recipe) -> list[str]:
    loss, metric = _judged(recipe)
    lines = [f"optimizer = {_optimizer(recipe)}"]
    if _decays(recipe):
        names = '["bias", "gamma", "beta", "scale"]'
        lines.append(f"optimizer.exclude_from_weight_decay(var_names={names})")
    epochs = f"math.ceil({recipe.steps} * {recipe.batch_size} / len(X))"
    return [
        *lines,
        "model.compile(",
        "    optimizer=optimizer,",
        f"    loss={loss},",
        f"    metrics=[{metric}],",
        ")",
        f"model.fit(X, y, batch_size={recipe.batch_size}, epochs={epochs})  # {recipe.steps:,} steps",
    ]


def _decays(recipe: Recipe) -> bool:
    """Whether weight decay is the optimizer's; SGD's and Adam's is an L2 penalty."""
    return recipe.optimizer == "adamw" and recipe.variant.weight_decay > 0


def _optimizer(recipe: Recipe) -> str:
    rate = f"learning_rate={number(recipe.lr)}"
    if recipe.optimizer == "sgd":
        return call("keras.optimizers.SGD", rate, "momentum=0.9")
    epsilon = "epsilon=1e-8"  # as torch; Keras's default is 1e-7
    if recipe.optimizer == "adam":
        return call("keras.optimizers.Adam", rate, epsilon)
    return call(
        "keras.optimizers.AdamW", rate, f"weight_decay={number(recipe.variant.weight_decay)}", epsilon
    )


def _judged(recipe: Recipe) -> tuple[str, str]:
    """Loss and metric."""
    if recipe.regression:
        return "keras.losses.MeanSquaredError()", "keras.metrics.RootMeanSquaredError()"
    if recipe.single_logit:  # the metric by name would hold logits against 0.5
        return (
            "keras.losses.BinaryCrossentropy(from_logits=True)",
            "keras.metrics.BinaryAccuracy(threshold=0.0)",
        )
    return "keras.losses.SparseCategoricalCrossentropy(from_logits=True)", '"accuracy"'


def _notes(recipe: Recipe) -> list[str]:
    notes = []
    if recipe.is_image:
        notes.append("images are channels-last: (rows, height, width, channels)")
    if recipe.variant.norm == "batch":
        notes.append(
            "Batch Normalization keeps the biased variance for predictions, and the smaller last batch of an epoch "
            "is trained on"
        )
    if recipe.variant.norm == "spectral":
        notes.append(
            "SpectralNormalization divides the kernel that is kept in each training step, and no gradient goes "
            "through its norm"
        )
    augmentations, missing = augmentation_layers(recipe.variant.augment)
    if missing:
        notes.append(f"without the augmentation {', '.join(missing)}, which Keras does not have in this form")
    elif sum("Random" in layer for layer in augmentations) > 1:
        notes.append("each augmentation resamples the image anew")
    return notes
