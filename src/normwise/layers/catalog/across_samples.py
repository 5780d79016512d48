"""Normalizations across samples beside batch normalization: other statistics, other batches, whitening."""

from __future__ import annotations

from normwise.layers.catalog._entry import Entry

_RANKS = (1, 2, 3)

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "BatchRenorm#d",
        "((x − μ_B) / sqrt(σ²_B + eps) · r + d) · weight + bias, r = clip(σ_B / σ, 1/r_max, r_max), "
        "d = clip((μ_B − μ) / σ, −d_max, d_max), μ and σ running",
        "Ioffe 2017",
        "Batch normalization with small batches, or batches whose samples are not independent.",
        "The author reports substantially better models than with Batch Normalization for small or dependent batches, "
        "and equal ones for large batches (Inception-v3 on ImageNet); it needs thousands of steps, over which its "
        "bounds open.",
        "(N, C, *)",
        _RANKS,
        kernel=True,
    ),
    Entry(
        "GhostBatchNorm#d",
        "(x − μ_k) / sqrt(σ²_k + eps) · weight + bias, μ_k and σ²_k of the sample's part k of the batch",
        "Hoffer, Hubara & Soudry 2017",
        "Batches of some hundred samples or more, which generalise worse than small ones did.",
        "Closes a part of the gap between large and small batches without more steps (Hoffer et al. 2017: MNIST, "
        "CIFAR, ImageNet); the rest of their gain comes from the learning rate and from longer training.",
        "(N, C, *)",
        _RANKS,
        kernel=True,
    ),
    Entry(
        "SplitBatchNorm#d",
        "(x − μ_k) / sqrt(σ²_k + eps) · weight_k + bias_k for the k-th part of the batch; evaluation: the first part's",
        "Xie et al. 2020 (AdvProp)",
        "Training on clean and on adversarial or strongly augmented samples at once.",
        "With adversarial samples in the auxiliary part an EfficientNet-B7 gains 0.7 points on ImageNet and 6.5 on "
        "ImageNet-C (Xie et al. 2020); without such samples it only makes batches smaller.",
        "(N, C, *)",
        _RANKS,
        kernel=True,
    ),
    Entry(
        "DomainBatchNorm#d",
        "(x − μ_d) / sqrt(σ²_d + eps) · weight_d + bias_d, by the statistics of the sample's domain d",
        "Chang et al. 2019",
        "One network for data from several sources that differ in level and scale: devices, sites, seasons.",
        "Separate statistics for source and target raise the accuracy of unsupervised adaptation on several benchmarks "
        "(Chang et al. 2019); the domain must be known when the network is used.",
        "(N, C, *), and an int or integers (N,)",
        _RANKS,
    ),
    Entry(
        "MeanOnlyBatchNorm#d",
        "x − μ + bias, μ per channel over samples and positions",
        "Salimans & Kingma 2016",
        "Behind a layer with weight normalization, where a batch's variance brings too much noise.",
        "With weight normalization 7.31 % error on CIFAR-10, where each of the two alone, and Batch Normalization, had "
        "more (Salimans & Kingma 2016); alone it does not keep the scale.",
        "(N, C, *)",
        _RANKS,
    ),
    Entry(
        "SwitchableNorm#d",
        "(x − Σ p_k μ_k) / sqrt(Σ q_k σ²_k + eps) · weight + bias, softmax weights p, q over instance, layer, batch",
        "Luo et al. 2019",
        "Where it is not known which normalization suits a layer, or the batch is small.",
        "ResNet-50 on ImageNet: 76.9 % against 76.4 % with Batch Normalization at 32 samples a device, 75.6 % against "
        "65.3 % at 2, where Group Normalization has 75.9 % (Luo et al. 2019).",
        "(N, C, *)",
        _RANKS,
    ),
    Entry(
        "DecorrelatedBatchNorm#d",
        "W (x − μ) · weight + bias, W ≈ (X Xᵀ / m + eps · I)^(−1/2) in groups of channels, by Newton's iteration",
        "Huang et al. 2018; Huang et al. 2019 (IterNorm)",
        "Channels that are strongly correlated, where the time for matrix products is there.",
        "The authors report lower errors than with Batch Normalization on CIFAR-10 and ImageNet (Huang et al. 2019); "
        "nobody else has reported as much, and a layer of C channels costs some C³ multiplications more.",
        "(N, C, *)",
        _RANKS,
    ),
    Entry(
        "EvoNorm#dB0",
        "x / max(sqrt(s²_batch + eps), v · x + sqrt(s²_instance + eps)) · weight + bias",
        "Liu, Brock, Simonyan & Le 2020",
        "Convolutional networks with large batches, in the place of a normalization and its activation.",
        "The authors report better accuracy than with Batch Normalization and ReLU in 12 of 14 trainings of image "
        "classifiers, with EvoNorms of both series; small batches are for EvoNorm-S0.",
        "(N, C, *)",
        _RANKS,
    ),
)
