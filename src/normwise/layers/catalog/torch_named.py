"""The normalizations with torch's names, and the two that go over channels."""

from __future__ import annotations

from normwise.layers.catalog._entry import Entry

_RANKS = (1, 2, 3)

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "BatchNorm#d",
        "(x − μ) / sqrt(σ² + eps) · weight + bias, μ and σ² per channel over samples and positions",
        "Ioffe & Szegedy 2015",
        "Convolutional networks and perceptrons with batches of 16 samples or more.",
        "Reaches the same accuracy on ImageNet in half the steps, and in a fourteenth with a larger learning rate"
        " and less regularization besides (Ioffe & Szegedy 2015); below 8 samples a batch its error grows, from "
        "23.6 at 32 to 34.7 at 2 (Wu & He 2018), and evaluation differs from training.",
        "(N, C, *)",
        _RANKS,
        fused="BatchNormAct#d",
        kernel=True,
    ),
    Entry(
        "SyncBatchNorm",
        "as BatchNorm, μ and σ² over the samples of all processes, too",
        "Peng et al. 2018",
        "Batch normalization with few samples a device: detection, segmentation, video.",
        "The statistics are those of the whole batch, so that few samples a device do no harm (Peng et al. 2018 "
        "train detectors on 256 images so); the price is an exchange forward and one backward in each layer.",
        "(N, C, *)",
        fused="BatchNormAct1d, 2d or 3d, synchronized",
        kernel=True,
    ),
    Entry(
        "InstanceNorm#d",
        "(x − μ) / sqrt(σ² + eps), μ and σ² per sample and channel over positions; affine and tracking on request",
        "Ulyanov, Vedaldi & Lempitsky 2016",
        "Style transfer and image generation, where contrast is not to pass; networks for medical volumes at 2 "
        "samples a batch.",
        "Better images than Batch Normalization in feed-forward style transfer (Ulyanov et al. 2016); in "
        "classification GroupNorm outperforms it, as it does all within a sample (Wu & He 2018).",
        "(N, C, *) with two positions or more, or (C, *)",
        _RANKS,
        fused="InstanceNormAct#d",
        kernel=True,
    ),
    Entry(
        "GroupNorm",
        "(x − μ) / sqrt(σ² + eps) · weight + bias, μ and σ² per sample and group of channels",
        "Wu & He 2018",
        "Convolutional networks at small batches, or where evaluation must be what training was.",
        "On ImageNet its error is 24.0 to 24.2 at any batch from 32 to 2, where Batch Normalization's is 23.6 to "
        "34.7 (Wu & He 2018): half a point worse where batches are large.",
        "(N, C, *)",
        fused="GroupNormAct",
        kernel=True,
    ),
    Entry(
        "LayerNorm",
        "(x − μ) / sqrt(σ² + eps) · weight + bias, μ and σ² over the trailing axes",
        "Ba, Kiros & Hinton 2016",
        "Transformers, recurrent networks and perceptrons on rows of a table, at any batch.",
        "Trains recurrent networks faster, where batch statistics of each step are of no use (Ba et al. 2016); in"
        " convolutional networks of 2018 it is behind Group and Batch Normalization (Wu & He 2018).",
        "(*, *normalized_shape)",
        fused="LayerNormAct",
        kernel=True,
    ),
    Entry(
        "LayerNorm#d",
        "(x − μ) / sqrt(σ² + eps) · weight + bias, μ and σ² over the channels of each position",
        "Liu et al. 2022",
        "ConvNeXt and its kin, which have one normalization a block.",
        "ConvNeXt has it in the place of Batch Normalization at about the same accuracy; the same exchange in the"
        " original ResNet is a loss, as its authors note (Liu et al. 2022). With positions in the statistics it "
        "is GroupNorm with one group.",
        "(N, C, *)",
        _RANKS,
        fused="LayerNormAct#d",
        kernel=True,
    ),
    Entry(
        "RMSNorm",
        "x / sqrt(mean(x²) + eps) · weight, the mean over the trailing axes",
        "Zhang & Sennrich 2019",
        "Transformers, above all language models, in the place of LayerNorm.",
        "The quality of LayerNorm with 7 to 64 % less run time of the models (Zhang & Sennrich 2019), by "
        "frameworks without fused kernels; nothing is centred.",
        "(*, *normalized_shape)",
        fused="RMSNormAct",
        kernel=True,
    ),
    Entry(
        "RMSNorm#d",
        "x / sqrt(mean(x²) + eps) · weight, the mean over the channels of each position",
        "Zhang & Sennrich 2019; Karras et al. 2018",
        "Generators of GANs, and convolutional networks between attention; without a weight and with eps=1e-8 it "
        "is PixelNorm.",
        "As PixelNorm it keeps magnitudes from growing while generator and discriminator compete (Karras et al. "
        "2018); for classification there is little evidence.",
        "(N, C, *)",
        _RANKS,
        fused="RMSNormAct#d",
        kernel=True,
    ),
)
