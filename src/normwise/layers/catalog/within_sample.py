"""Normalizations within a sample that torch has not, the one that needs no statistics, and an old one."""

from __future__ import annotations

from normwise.layers.catalog._entry import Entry

_RANKS = (1, 2, 3)

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "FilterResponseNorm#d",
        "max(x / sqrt(mean(x²) + |eps|) · weight + bias, tau), the mean over positions, per sample and channel",
        "Singh & Krishnan 2020",
        "Convolutional networks at any batch size, in the place of a normalization and its ReLU.",
        "The authors report an error of 22.8 against 23.8 with Batch Normalization; an independent baseline found"
        " 24.0 against 23.6, in favour of Batch Normalization.",
        "(N, C, *)",
        _RANKS,
    ),
    Entry(
        "EvoNorm#dS0",
        "x · sigmoid(v · x) / sqrt(σ² + eps) · weight + bias, σ² per sample and group of channels",
        "Liu, Brock, Simonyan & Le 2020",
        "Convolutional networks at small batches, in the place of a normalization and its activation.",
        "At small batches 7.8 points above Batch Normalization with ReLU on a ResNet-50 and 7.3 on a MobileNetV2 "
        "(Liu et al. 2020, table 4); in an independent trial of a small Inception on CIFAR-10 it stayed below (S."
        " Paul, a report on W&B).",
        "(N, C, *)",
        _RANKS,
    ),
    Entry(
        "GlobalResponseNorm#d",
        "x + weight · x · g / (mean(g) + eps) + bias, g = ‖x‖₂ over positions, the mean over channels",
        "Woo et al. 2023",
        "Behind the wide layer of a ConvNeXt block, above all where it is trained as a masked autoencoder.",
        "Keeps features from collapsing in masked pre-training; in supervised training alone it changes little "
        "(Woo et al. 2023).",
        "(N, C, *) with positions, or (N, *, C) with channels_last",
        _RANKS,
    ),
    Entry(
        "ScaleNorm",
        "weight · x / max(‖x‖₂, eps), the weight one number",
        "Nguyen & Salazar 2019",
        "Transformers on little data, before attention and perceptron, with one parameter in the place of C.",
        "With pre-norm, word embeddings of fixed length and smaller initial weights 1.1 BLEU above the baselines "
        "on five small translation tasks; on a large one it is on a par with LayerNorm (Nguyen & Salazar 2019).",
        "(*, C)",
    ),
    Entry(
        "DynamicTanh",
        "tanh(alpha · x) · weight + bias, alpha one number",
        "Zhu, Chen, He, LeCun & Liu 2025",
        "Transformers, in the place of LayerNorm or RMSNorm, where statistics of each token cost time.",
        "On a par with the normalization that it stands for: ViT-B 82.3 to 82.5, ConvNeXt-B 83.7 to 83.7 (Zhu et "
        "al. 2025); in GPT-2 models an independent study found a lower loss where data are few, and a higher one "
        "elsewhere (arXiv 2604.23434).",
        "(*, *normalized_shape)",
    ),
    Entry(
        "DynamicTanh#d",
        "tanh(alpha · x) · weight + bias, alpha one number, weight and bias per channel",
        "Zhu, Chen, He, LeCun & Liu 2025",
        "ConvNeXt and its kin, in the place of a LayerNorm over channels.",
        "ConvNeXt-B stays at 83.7 (Zhu et al. 2025); in the place of Batch Normalization in a ResNet or VGG it is"
        " worse (their limitations).",
        "(N, C, *)",
        _RANKS,
    ),
    Entry(
        "LocalResponseNorm",
        "x / (k + alpha / size · Σ x²)^beta, the sum over `size` neighbouring channels",
        "Krizhevsky, Sutskever & Hinton 2012",
        "To load networks of the time of AlexNet.",
        "1.4 points less top-1 error in AlexNet (Krizhevsky et al. 2012); none less in VGG networks (Simonyan & "
        "Zisserman 2015).",
        "(N, C, *) with positions",
    ),
)
