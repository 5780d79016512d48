"""Dropout of whole words: of tokens, and of entries of a vocabulary."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from normwise.errors import ArgumentError, explain
from normwise.functional import check_rate
from normwise.layers._draws import Draws, Drops, drop, keeps
from normwise.layers._trace import as_leaf, is_traced


class WordDropout(Drops):
    """Zero whole vectors along the last axis in training, scale the rest by ``1 / (1 − p)``.

    Of embedded tokens (N, L, C) each is dropped by itself, with all its features; any number of axes from two on.

    Args:
        p: the probability of a zero.

    Raises:
        ArgumentError: (a ValueError) p is no probability, or the input has less than 2 axes.

    Source: Iyyer et al. 2015 (deep averaging networks).

    >>> import torch
    >>> WordDropout(0.5)(torch.ones(2, 5, 3)).unique(dim=-1).shape
    torch.Size([2, 5, 1])
    """

    def disturb(self, input: Tensor) -> Tensor:
        """Drop tokens."""
        if input.dim() < 2:
            raise ArgumentError(
                explain("WordDropout", "the input must be (*, L, C)", f"shape {tuple(input.shape)}")
            )
        return drop(input, (*input.shape[:-1], 1), self.p)


class EmbeddingDropout(Draws, nn.Embedding):
    """An embedding that drops words of its vocabulary in training: a dropped word is zero wherever it occurs.

    One mask over the vocabulary at each call, the rest is scaled by ``1 / (1 − p)``; in evaluation it is
    `torch.nn.Embedding`, whose state_dict key it has. The mask is applied to the words that are looked up, so that a
    large vocabulary costs one number a word.

    Args:
        *arguments: those of `torch.nn.Embedding`.
        p: the probability that a word is dropped.
        **options: those of `torch.nn.Embedding`.

    Raises:
        ArgumentError: (a ValueError) p is no probability.

    Source: Gal & Ghahramani 2016, section 4.2.

    >>> import torch
    >>> layer = EmbeddingDropout(10, 3, p=0.5)
    >>> one, two = layer(torch.tensor([7, 7]))
    >>> torch.equal(one, two)
    True
    """

    def __init__(self, *arguments: Any, p: float = 0.1, **options: Any) -> None:
        check_rate("EmbeddingDropout", "p", p)
        super().__init__(*arguments, **options)
        self.p = p

    @classmethod
    def of(cls, embedding: nn.Embedding, p: float = 0.1) -> EmbeddingDropout:
        """The same embedding with dropout: the very parameter, so that tied and optimized ones stay so.

        >>> embedding = nn.Embedding(10, 3)
        >>> EmbeddingDropout.of(embedding, p=0.2).weight is embedding.weight
        True
        """
        made = cls(
            *embedding.weight.shape,
            padding_idx=embedding.padding_idx,
            max_norm=embedding.max_norm,
            norm_type=embedding.norm_type,
            scale_grad_by_freq=embedding.scale_grad_by_freq,
            sparse=embedding.sparse,
            device="meta",
            p=p,
        )
        made.weight = embedding.weight
        return made.train(embedding.training)

    def forward(self, input: Tensor) -> Tensor:
        """Look words up; in training some are zero."""
        if is_traced(input):
            output: Tensor = as_leaf(self, input)
            return output
        found = nn.Embedding.forward(self, input)
        if not self.drawing or self.p == 0.0:
            return found
        if self.p == 1.0:
            return found * 0.0
        kept = keeps((self.num_embeddings,), self.p, found.device)
        return found * kept[input].unsqueeze(-1) * (1.0 / (1.0 - self.p))

    def extra_repr(self) -> str:
        """The embedding's arguments and the rate."""
        return f"{super().extra_repr()}, p={self.p}"
