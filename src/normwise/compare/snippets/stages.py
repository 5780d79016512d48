"""The layers of a network, read off the very network that is compared, in the order in which they run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from normwise.compare.network import build
from normwise.compare.network_spec import Network
from normwise.compare.variant import Variant
from normwise.models import CNN, MLP, Block


@dataclass(frozen=True, eq=False)
class Stage:
    """A hidden block, what goes from images to features, or the output layer with its normalization.

    Attributes:
        modules: in the order in which they run.
        ahead: what runs before them and outside of the residual: pooling.
        shortcut: what takes a residual block's input to the sum, or None.
        summed: of a residual block, how many of `modules` run before the sum.
        is_output: whether this is the output layer.
    """

    modules: tuple[nn.Module, ...]
    ahead: tuple[nn.Module, ...] = ()
    shortcut: nn.Module | None = None
    summed: int = 0
    is_output: bool = False


def stages_of(
    network: Network, variant: Variant, in_shape: tuple[int, ...], outputs: int
) -> tuple[Stage, ...]:
    """Build the network, without memory for its weights, and take it apart.

    Raises:
        ArgumentError: the network does not fit the data or the normalization.
    """
    plain = network.model_copy(update={"single_logit": False})  # `outputs` says it
    with torch.device("meta"):
        model = build(plain, variant, in_shape, outputs)
    if isinstance(model, MLP):
        start = (Stage((nn.Flatten(),)),) if len(in_shape) > 1 else ()
        hidden = (*start, *(_block(block) for block in _blocks(model)))
    elif isinstance(model, CNN):
        hidden = _convolutional(model)
    else:
        raise TypeError(f"a network of ours is an MLP or a CNN, not a {type(model).__name__}")
    end = (model.output,) if model.output_norm is None else (model.output, model.output_norm)
    return (*hidden, Stage(end, is_output=True))


def _convolutional(model: CNN) -> tuple[Stage, ...]:
    blocks = _blocks(model)
    pool = () if model.pool is None else (model.pool,)
    images = [_block(block, pool if index else ()) for index, block in enumerate(blocks[: model.depth])]
    flatten = nn.Flatten()
    reduction = Stage((nn.AdaptiveAvgPool2d(1), flatten) if model.reduce == "average" else (flatten,))
    return (*images, reduction, *(_block(block) for block in blocks[model.depth :]))


def _blocks(model: MLP | CNN) -> list[Block]:
    return [block for block in model.blocks if isinstance(block, Block)]


def _block(block: Block, ahead: tuple[nn.Module, ...] = ()) -> Stage:
    before = block.norm if block.position == "before" else None
    after = block.norm if block.position == "after" else None
    # Where the norm holds an activation of its own, the block's is an identity.
    activation = None if isinstance(block.activation, nn.Identity) else block.activation
    inner = [module for module in (block.weighted, before) if module is not None]
    outer = [module for module in (activation, after, block.dropout) if module is not None]
    return Stage((*inner, *outer), ahead, block.shortcut, len(inner))
