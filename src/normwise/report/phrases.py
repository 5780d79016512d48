"""What each claim is called and how it is said of a variant {v}, a baseline {b} and a metric {m}."""

from __future__ import annotations

from dataclasses import dataclass

from normwise.results import ClaimName


@dataclass(frozen=True)
class Phrase:
    """The words of one claim.

    Attributes:
        label: the row of the scorecard.
        question: what is asked, one sentence.
        yes, no, same: the sentence's head for a verdict.
        open: what is undecided, after "Undecided whether".
        column: the label where there is little room.
        neutral: what is measured, without asking for a verdict.
    """

    label: str
    question: str
    yes: str
    no: str
    same: str
    open: str
    column: str
    neutral: str


PHRASES: dict[ClaimName, Phrase] = {
    "faster": Phrase(
        label="Faster",
        question="Does it reach the target ({t}) in fewer steps?",
        yes="{v} reaches the target in fewer steps than {b}",
        no="{v} needs more steps to the target than {b}",
        same="{v} and {b} need the same number of steps to the target, within the margin",
        open="{v} reaches the target in fewer steps than {b}",
        column="speed",
        neutral="Steps to target",
    ),
    "larger_learning_rates": Phrase(
        label="Larger learning rates",
        question="Does it train at larger learning rates?",
        yes="{v} tolerates larger learning rates than {b}",
        no="{v} tolerates only smaller learning rates than {b}",
        same="{v} and {b} tolerate the same learning rates, within the margin",
        open="{v} tolerates larger learning rates than {b}",
        column="rates",
        neutral="Learning rates",
    ),
    "initialization": Phrase(
        label="Indifferent to initialization",
        question="Does its result depend less on the scale of the initialization?",
        yes="the result of {v} depends less on the initialization scale than that of {b}",
        no="the result of {v} depends more on the initialization scale than that of {b}",
        same="the results of {v} and {b} depend equally on the initialization scale, within the margin",
        open="the result of {v} depends less on the initialization scale than that of {b}",
        column="init",
        neutral="Initialization",
    ),
    "gradients": Phrase(
        label="Level gradients",
        question="Does the gradient keep its size over depth at initialization?",
        yes="{v} keeps gradients more level over depth than {b}",
        no="{v} keeps gradients less level over depth than {b}",
        same="gradients under {v} and {b} are equally level over depth, within the margin",
        open="{v} keeps gradients more level over depth than {b}",
        column="grads",
        neutral="Gradients",
    ),
    "generalizes": Phrase(
        label="Better on test",
        question="Is the final test metric better?",
        yes="{v} is better than {b} on test {m}",
        no="{v} is worse than {b} on test {m}",
        same="{v} and {b} do not differ in test {m}, within the margin",
        open="{v} is better than {b} on test {m}",
        column="test",
        neutral="Test result",
    ),
    "regularizes": Phrase(
        label="Smaller train–test gap",
        question="Is the gap between train and test smaller?",
        yes="the gap between train and test is smaller with {v} than with {b}",
        no="the gap between train and test is larger with {v} than with {b}",
        same="the gap between train and test is the same with {v} and {b}, within the margin",
        open="the gap between train and test is smaller with {v} than with {b}",
        column="gap",
        neutral="Train–test gap",
    ),
    "cost": Phrase(
        label="Costs time",
        question="Does one training step take longer?",
        yes="a training step takes longer with {v} than with {b}",
        no="a training step takes less time with {v} than with {b}",
        same="a training step takes the same time with {v} and {b}, within the margin",
        open="a training step takes longer with {v} than with {b}",
        column="cost",
        neutral="Time per step",
    ),
}

BENEFITS: tuple[ClaimName, ...] = tuple(name for name in PHRASES if name != "cost")
