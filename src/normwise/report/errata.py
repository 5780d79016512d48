"""Sentences of popular articles that are wrong, what is right, and what this comparison measured about them.

Sources: Ioffe & Szegedy 2015; Santurkar et al. 2018; Bjorck et al. 2018; Wu & He 2018; Zhang et al. 2017.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from normwise.report.document import ErrataList, Erratum
from normwise.report.numbers import effect, interval, listing, number, quantity, ratio
from normwise.results import Comparison, Setting, VariantResult


def errata(comparison: Comparison) -> ErrataList:
    """Return the errata, each with a measurement where the comparison holds one."""
    measures: dict[str, Callable[[Comparison], str]] = {
        "inference": _inference,
        "correlation": _correlation,
        "exploding": _exploding,
        "speed": _speed,
        "gap": _gap,
    }
    return ErrataList(
        tuple(
            Erratum(wrong, right, formula, measures[key](comparison) if key in measures else "")
            for key, wrong, right, formula in _ERRATA
        )
    )


_ERRATA: tuple[tuple[str, str, str, str], ...] = (
    (
        "inference",
        "(Batch Normalization is explained, and nothing is said about inference.)",
        "At inference it uses the running statistics gathered in training, not those of the batch. Most "
        "bugs live in this difference between training and evaluation.",
        "y = γ · (x − running_mean) / √(running_var + ε) + β",
    ),
    (
        "mean",
        "“The mean of the batch is μ_B = (1/m) Σ (x_i − μ).”",
        "That sum is zero by construction. The mean comes first, the variance after it.",
        "μ_B = (1/m) Σ x_i,  σ²_B = (1/m) Σ (x_i − μ_B)²",
    ),
    (
        "normal",
        "“Batch Normalization fixes the inputs of a layer to a standard normal distribution.”",
        "It fixes the mean and the variance only, not the shape, and γ and β then move both again.",
        "y = γ · (x − μ_B) / √(σ²_B + ε) + β, so that mean(y) = β and var(y) ≈ γ²",
    ),
    (
        "correlation",
        "“Normalization reduces the correlation between features.”",
        "Batch Normalization treats every feature alone, and a correlation does not change when each "
        "side is shifted and scaled. Only whitening (decorrelated Batch Normalization) acts on it.",
        "corr(a·x + b, c·y + d) = corr(x, y) for a, c > 0",
    ),
    (
        "exploding",
        "“Batch Normalization prevents vanishing and exploding gradients.”",
        "It prevents vanishing. In deep plain ReLU networks it makes gradients grow towards the input at "
        "initialization: by 1.21 per layer, 1.467 for the squared norm.",
        "‖∇‖² grows per layer by π/(π − 1) ≈ 1.467 (theory of wide networks, large batch)",
    ),
    (
        "speed",
        "“Batch Normalization trains 14 times faster.”",
        "The 14.8 of the original paper came with a larger learning rate, no dropout, less weight decay "
        "and a faster schedule. Much of a speed-up is the larger learning rate, so both a fixed and a "
        "tuned one belong beside it.",
        "",
    ),
    (
        "gap",
        "“With Batch Normalization a network does not overfit.”",
        "Networks with it fit random labels to 100%. An effect on the gap between train and test is "
        "small, depends on the batch size, and has to be measured.",
        "",
    ),
    (
        "shift",
        "“It works because it reduces internal covariate shift.”",
        "The change of gradients that this name stands for is not reduced (Santurkar et al. 2018). The "
        "percentiles of this report stand beside the learning curves; neither is shown to be the cause "
        "of the other.",
        "",
    ),
    (
        "group",
        "“Group Normalization divides the mini-batch into groups.”",
        "It divides the channels of one sample into groups; other samples play no part.",
        "sample n, group g:  μ = mean of x[n, c, s] over c in g and all s",
    ),
    (
        "complexity",
        "“Normalization restricts the parameters, and with them the complexity of the model.”",
        "It rescales activations. The weights before it become free of scale: what changes with their "
        "size is the gradient, hence the effective learning rate.",
        "f(aW) = f(W),  ∇f(aW) = ∇f(W) / a   (a > 0, ε → 0)",
    ),
    (
        "dropout",
        "“Dropout with rate p keeps a neuron with probability p, and testing multiplies by 1 − p.”",
        "This mixes two conventions. With drop rate p, a unit is kept with probability 1 − p and scaled "
        "up in training; evaluation is then the identity.",
        "training: y = x · mask / (1 − p);  evaluation: y = x",
    ),
    (
        "transformers",
        "“Transformers use Batch Normalization.”",
        "They use Layer Normalization or RMS Normalization, which need no other sample.",
        "RMS: y = γ · x / √(mean(x²) + ε)",
    ),
    (
        "position",
        "“The normalization goes before the activation”, “never on the output layer”.",
        "Both are conventions, not laws: CaffeNet reached .474 with it before and .499 after the "
        "activation. The position is an option to compare.",
        "",
    ),
    (
        "sparsity",
        "“An L1 penalty sets weights to zero.”",
        "Its subgradient step never reaches an exact zero; a proximal step does.",
        "w ← sign(w) · max(|w| − ηλ, 0)",
    ),
)


def _batch_variants(comparison: Comparison) -> Iterable[tuple[Setting, VariantResult]]:
    for setting in comparison.settings:
        for variant in setting.variants:
            if _is_batch(variant.name):
                yield setting, variant


def _is_batch(variant: str) -> bool:
    """Whether a variant has Batch Normalization itself, and not one that is named after it."""
    return re.search(r"\bbatch\b", variant.lower()) is not None


def _tell(parts: list[str]) -> str:
    return f"Measured here: {'; '.join(parts)}." if parts else ""


def _inference(comparison: Comparison) -> str:
    return _tell(
        [
            f"{setting.name}, {variant.name}: the final training loss differs by "
            f"{quantity(100 * abs(variant.train_eval_discrepancy), '%')} between the two modes"
            for setting, variant in _batch_variants(comparison)
            if variant.train_eval_discrepancy is not None
        ]
    )


def _correlation(comparison: Comparison) -> str:
    parts = []
    for setting in comparison.settings:
        values = [
            f"{variant.name} {number(variant.correlation, 2)}"
            for variant in setting.variants
            if variant.correlation is not None
        ]
        if values:
            parts.append(f"{setting.name}: {listing(values)}")
    return _tell(
        [f"mean |correlation| between the channels of a layer at the end; {'; '.join(parts)}"]
        if parts
        else []
    )


def _exploding(comparison: Comparison) -> str:
    probe = comparison.probe
    if probe is None:
        return ""
    return _tell(
        [
            f"{name}: {number(estimate.value, 4)} per layer, theory {number(oracle, 4)}"
            for name, estimate, oracle in zip(probe.names, probe.measured, probe.oracle, strict=False)
            if estimate.value is not None
        ]
    )


def _speed(comparison: Comparison) -> str:
    parts = []
    for setting in comparison.settings:
        for claim in setting.claims:
            fixed = (claim.evidence or {}).get("fixed_ratio")
            batch = _is_batch(claim.variant)
            if claim.claim == "faster" and batch and claim.effect.value and fixed:
                parts.append(
                    f"{setting.name}, {claim.variant}: {effect(claim.effect)} in steps at its own learning "
                    f"rate, {ratio(fixed)} at that of {setting.baseline}"
                )
    return _tell(parts)


def _gap(comparison: Comparison) -> str:
    parts = []
    for setting, variant in _batch_variants(comparison):
        gap = variant.gap
        if gap.value is not None:
            spread = interval(gap.interval, gap.unit)
            parts.append(
                f"{setting.name}, {variant.name}: train is ahead of test by {quantity(gap.value, gap.unit)}"
                + (f" ({spread})" if spread else "")
            )
    return _tell(parts)
