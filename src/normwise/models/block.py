"""One hidden layer of a network: weights, normalization, activation, dropout."""

from __future__ import annotations

from torch import Tensor, nn

from normwise.errors import unknown_name

POSITIONS: tuple[str, ...] = ("before", "after")


class Block(nn.Module):
    """A linear layer or convolution with its normalization, activation and dropout.

    With the normalization *before* the activation ``y = dropout(act(norm(weighted(x)) + shortcut(x)))``,
    with it *after* ``y = dropout(norm(act(weighted(x) + shortcut(x))))``; what is None is left out. The
    children are registered in the order in which they run, the shortcut last.

    Attributes:
        weighted: the linear layer or convolution.
        norm: the normalization layer, or None (also for weight normalization, which lies in `weighted`).
        activation: the activation.
        dropout: the dropout layer, or None.
        shortcut: what takes the input to the sum (an identity, a 1 × 1 convolution), or None.
        position: of the norm, "before" or "after" the activation.

    Raises:
        UnknownNameError: `position` is neither "before" nor "after".

    Example:
        >>> import torch
        >>> block = Block(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), position="after")
        >>> [name for name, _ in block.named_children()]
        ['weighted', 'activation', 'norm']
        >>> block(torch.rand(2, 3)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        weighted: nn.Module,
        norm: nn.Module | None,
        activation: nn.Module,
        dropout: nn.Module | None = None,
        *,
        position: str = "before",
        shortcut: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if position not in POSITIONS:
            raise unknown_name("Block", "position", position, POSITIONS)
        self.position = position
        self.weighted = weighted
        if position == "before":
            self.norm = norm
            self.activation = activation
        else:
            self.activation = activation
            self.norm = norm
        self.dropout = dropout
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for the input `x`."""
        norm, shortcut, dropout = self.norm, self.shortcut, self.dropout
        y: Tensor = self.weighted(x)
        if norm is not None and self.position == "before":
            y = norm(y)
        if shortcut is not None:
            y = y + shortcut(x)
        y = self.activation(y)
        if norm is not None and self.position == "after":
            y = norm(y)
        return y if dropout is None else dropout(y)

    def extra_repr(self) -> str:
        """Say on which side of the activation the normalization lies."""
        return "" if self.norm is None else f"norm {self.position} the activation"
