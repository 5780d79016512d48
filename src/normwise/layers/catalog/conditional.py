"""Normalizations whose scale and shift come from a condition, and what computes these from it."""

from __future__ import annotations

from normwise.layers.catalog._entry import Entry

_RANKS = (1, 2, 3)

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "ConditionalNorm",
        "norm(x) · (1 + γ(c)) + β(c), for any norm and any modulation",
        "de Vries et al. 2017; Perez et al. 2018",
        "To let a condition steer a normalized network in a way that no class below has.",
        "The form that all below share; which norm serves which condition is an empirical question.",
        "what the norm takes, and the condition",
    ),
    Entry(
        "ConditionalBatchNorm#d",
        "(x − μ) / sqrt(σ² + eps) · (1 + γ[class]) + β[class]",
        "de Vries et al. 2017; Dumoulin, Shlens & Kudlur 2017",
        "Generators of GANs that draw images of a class.",
        "One network draws 32 painting styles with a scale and a shift of each alone (Dumoulin et al. 2017, over "
        "instance statistics); evaluation differs from training, as with all batch statistics.",
        "(N, C, *) and classes (N,)",
        _RANKS,
    ),
    Entry(
        "FiLM",
        "x · (1 + γ(c)) + β(c)",
        "Perez et al. 2018",
        "To let text, a time step or a sensor setting steer a network, behind any layer.",
        "Halved the best error on CLEVR, to 97.7 % right (Perez et al. 2018); it normalizes nothing, so that a "
        "normalization goes before it.",
        "(N, C, *) or (N, *, C), and vectors (N, E)",
    ),
    Entry(
        "AdaIN",
        "(x − μ(x)) / sqrt(σ²(x) + eps) · sqrt(σ²(s) + eps) + μ(s), per sample and channel",
        "Huang & Belongie 2017",
        "To give an image the style of any other without training for it.",
        "The first to transfer any style in real time, as fast as networks for fixed styles (Huang & Belongie "
        "2017); it passes on first and second moments of each channel, and nothing of how channels go together.",
        "(N, C, *) and a style (N, C, *)",
    ),
    Entry(
        "AdaInstanceNorm#d",
        "(x − μ) / sqrt(σ² + eps) · (1 + γ(c)) + β(c), per sample and channel",
        "Karras, Laine & Aila 2019",
        "Generators in the manner of StyleGAN, steered by a vector at each resolution.",
        "Steers StyleGAN (Karras et al. 2019); its authors left it in StyleGAN2, since drop-like artifacts in "
        "images vanish without the normalization of each map (Karras et al. 2020).",
        "(N, C, *) and vectors (N, E)",
        _RANKS,
    ),
    Entry(
        "SPADE#d",
        "norm(x) · (1 + γ(m)) + β(m), γ and β convolutions of a map m, at each position",
        "Park, Liu, Wang & Zhu 2019",
        "To draw images from a map of labels.",
        "Keeps labels that normalization would wash away (Park et al. 2019); most of the gain comes from the "
        "labels and little from the convolutions, as a form without these does as well (Tan et al. 2020).",
        "(N, C, *) and a map (N, K, *)",
        _RANKS,
    ),
    Entry(
        "AdaLayerNorm",
        "(x − μ) / sqrt(σ² + eps) · (1 + γ(c)) + β(c), per token",
        "Peebles & Xie 2023",
        "Transformers that are steered by a time step or a class.",
        "The cheapest of the ways compared in DiT; with the gate of `AdaLayerNormZero` it is better at all times "
        "of training (Peebles & Xie 2023, figure 5).",
        "(N, *, C) and vectors (N, E) or (N, *, E)",
    ),
    Entry(
        "AdaLayerNormZero",
        "as AdaLayerNorm, and a gate(c) for x + gate · branch(h)",
        "Peebles & Xie 2023",
        "Residual branches of diffusion transformers, which so start as the identity.",
        "A lower FID than adaLN, cross attention and tokens in context throughout training (Peebles & Xie 2023, "
        "figure 5).",
        "(N, *, C) and vectors (N, E) or (N, *, E)",
    ),
    Entry(
        "AdaGroupNorm",
        "(x − μ) / sqrt(σ² + eps) · (1 + γ(c)) + β(c), per sample and group of channels",
        "Dhariwal & Nichol 2021",
        "Convolutional diffusion models, steered by time step and class.",
        "A lower FID than adding the condition before a plain GroupNorm, in the authors' ablation (Dhariwal & "
        "Nichol 2021); there is little evidence from others that sets these two alone apart.",
        "(N, C, *) and vectors (N, E)",
    ),
    Entry(
        "EmbeddingModulation",
        "γ[class], β[class], zero at the start",
        "Dumoulin, Shlens & Kudlur 2017",
        "For `ConditionalNorm`, where the condition is a class.",
        "As many numbers as classes times channels; rare classes move slowly.",
        "classes (N,)",
    ),
    Entry(
        "LinearModulation",
        "γ, β = W · activation(c) + b, zero at the start",
        "Perez et al. 2018",
        "For `ConditionalNorm`, where the condition is a vector.",
        "That conditioned layers start as if there were no condition is as in DiT, where a start at zero helps "
        "(Peebles & Xie 2023).",
        "vectors (N, E) or (N, *, E)",
    ),
    Entry(
        "SpatialModulation",
        "γ, β = W ∗ relu(W₀ ∗ m + b₀) + b, zero at the start",
        "Park, Liu, Wang & Zhu 2019",
        "For `ConditionalNorm`, where the condition is a map of the input's positions.",
        "Costs more than what it modulates: two convolutions a layer.",
        "maps (N, K, *)",
    ),
)
