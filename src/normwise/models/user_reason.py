"""Why a model does not take the data, where its first layer tells."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from normwise.errors import ArgumentError, explain
from normwise.models.user_words import UserCodeError

_INPUT_HINT = "take the number as a parameter, in_features or in_channels, or set it by --model-args"
_OTHER_SIZE = (
    "cannot be multiplied",
    "Kernel size can't be greater",
    "Output size is too small",
    "is invalid for input of size",
)
"""What torch says in a convolutional network of images that have another height and width than it was written for."""


def plainly(error: ArgumentError, model: nn.Module, batch: Tensor, who: str) -> ArgumentError:
    """The error, or a plainer one where the first layer and the data differ in what a row is."""
    kinds = (nn.Linear, _ConvNd, nn.RNNBase, nn.Embedding, nn.EmbeddingBag)
    first = next((m for m in model.modules() if isinstance(m, kinds)), None)
    there = error.words if isinstance(error, UserCodeError) else str(error)
    if isinstance(first, nn.Embedding | nn.EmbeddingBag) or ("Long" in there and "indices" in there):
        must = "the model must take float32 numbers, standardised"
        return ArgumentError(
            explain(who, must, f"one that looks up whole numbers, such as token ids: {there}")
        )
    if isinstance(first, nn.Linear):
        wants, has = first.in_features, math.prod(batch.shape[1:])
        # A linear layer further on may be the one that fails, or a layer without weights of this kind.
        if wants != has and "cannot be multiplied" in there and f" and {wants}x" in there:
            must = "the first layer must take what a row has"
            got = f"a linear layer for {wants:,} inputs and {_row_words(batch)} with {has:,} values"
            return ArgumentError(explain(who, must, got, _INPUT_HINT))
    if isinstance(first, nn.RNNBase):
        got = f"{_row_words(batch)} before its {type(first).__name__}: {there}"
        hint = f"make them in forward, as in {'x.unsqueeze(-1)' if batch.dim() == 2 else 'x.squeeze(1)'}"
        return ArgumentError(
            explain(who, "a recurrent layer needs sequences (rows, steps, values)", got, hint)
        )
    if isinstance(first, _ConvNd) and batch.dim() == 2:
        got = f"a {type(first).__name__} first and {_row_words(batch)}"
        return ArgumentError(explain(who, "a convolution needs images", got, "use a model for tables"))
    if isinstance(first, nn.Conv2d) and batch.dim() == 4:
        if first.in_channels != batch.shape[1]:
            got = f"a convolution for {first.in_channels} channels and {_row_words(batch)}"
            must = "the first layer must take what an image has"
            return ArgumentError(explain(who, must, got, _INPUT_HINT))
        if any(words in there for words in _OTHER_SIZE):
            must = f"the model must take {_row_words(batch)}"
            hint = "if it was written for others, --image-size scales those of a folder"
            return ArgumentError(explain(who, must, there, hint))
    return error


def _row_words(batch: Tensor) -> str:
    if batch.dim() == 2:
        return "rows"
    channels, height, width = batch.shape[1:]
    return f"images of {channels} × {height} × {width}"
