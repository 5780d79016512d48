"""All that a program is written from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from normwise.compare.network_spec import Initialization, Network
from normwise.compare.snippets.stages import Stage, stages_of
from normwise.compare.variant import Variant

PLACEHOLDER_ROWS, PLACEHOLDER_NUMBERS = 1000, 10_000_000
"""Made-up data has so many rows, fewer where images are large."""

NAMED_CLASSES = 60
"""Classes are named in a comment while their names take no more characters than this."""


@dataclass(frozen=True)
class Recipe:
    """A variant of a network with everything it was trained with; see `snippets` for the fields."""

    network: Network
    variant: Variant
    initialization: Initialization
    in_shape: tuple[int, ...]
    out_features: int
    regression: bool
    classes: tuple[str, ...]
    optimizer: str
    lr: float
    batch_size: int
    steps: int

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The layers of a network of ours."""
        return stages_of(self.network, self.variant, self.in_shape, self.outputs)

    @property
    def single_logit(self) -> bool:
        """Whether two classes share one output, the logit of the second."""
        return self.network.single_logit and self.out_features == 2 and not self.regression

    @property
    def outputs(self) -> int:
        """Outputs of the network."""
        return 1 if self.single_logit else self.out_features

    @property
    def rows(self) -> int:
        """Rows of the made-up data that stand where the user's go: two batches at least."""
        fitting = min(PLACEHOLDER_ROWS, PLACEHOLDER_NUMBERS // math.prod(self.in_shape))
        fitting = fitting // 100 * 100 or fitting  # a round number: it is not to be taken for a count
        return max(fitting, 2 * self.batch_size)

    @property
    def is_image(self) -> bool:
        """Whether an input is (channels, height, width)."""
        return len(self.in_shape) == 3

    def data_comment(self) -> str:
        """What has to stand where made-up data does."""
        if self.regression:
            return "Your training data: inputs and target standardised"
        named = ", ".join(f"{index} = {name!r}" for index, name in enumerate(self.classes))
        numbers = (
            named if len(named) <= NAMED_CLASSES and named.isprintable() else f"0 to {self.out_features - 1}"
        )
        return f"Your training data: inputs standardised; classes {numbers}"
