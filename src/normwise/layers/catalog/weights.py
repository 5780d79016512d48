"""What acts on a module's weight: parametrizations, and what makes them plain again."""

from __future__ import annotations

from normwise.layers.catalog._entry import Entry

_MODULES = "Linear, convolutions, transposed ones; any weight of 2 axes or more with a `dim`"

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "weight_norm",
        "g · v / ‖v‖, one length g per output unit",
        "Salimans & Kingma 2016",
        "Recurrent and generative networks and small batches, where statistics of a batch are in the way.",
        "Trains faster than without a normalization (Salimans & Kingma 2016); a ResNet-50 on ImageNet ends about 6 "
        "points of test accuracy below Batch Normalization (Gitman & Ginsburg 2017).",
        "Linear, convolutions, transposed ones; any weight with a `dim`",
    ),
    Entry(
        "spectral_norm",
        "w / σ(w), σ the largest singular value by power iteration",
        "Miyato et al. 2018",
        "Discriminators of GANs, and wherever a network must not amplify its input.",
        "Steadies GANs over a wide range of settings (Miyato et al. 2018); of a convolution it bounds the kernel as a "
        "matrix, not the convolution, whose norm can be larger (Sedghi, Gupta & Long 2019).",
        _MODULES,
    ),
    Entry(
        "weight_standardization",
        "(w − μ) / sqrt(σ² + eps) per output unit; scaled: gain · gamma / sqrt(fan-in) times that",
        "Qiao et al. 2019; Brock, De & Smith 2021",
        "With Group Normalization at 1 or 2 images a batch; scaled, in networks that normalize no activations.",
        "Group Normalization with it, at one image a device, matches Batch Normalization at large batches (Qiao et al. "
        "2019); with nothing behind it the plain form makes signals grow with the root of the fan-in.",
        _MODULES,
    ),
    Entry(
        "orthogonal",
        "base · Q(X), Q a Cayley map, an exponential or a product of reflections",
        "Lezcano-Casado & Martínez-Rubio 2019",
        "Recurrent matrices over long sequences, and very deep networks without shortcuts.",
        "Learns the copying task over 1,000 steps, where an LSTM does not (Lezcano-Casado & Martínez-Rubio 2019); "
        "costs a factorization of the matrix in each pass.",
        _MODULES,
    ),
    Entry(
        "centred_weight",
        "w − μ per output unit",
        "Huang et al. 2017",
        "Behind activations with a positive mean, as ReLU's.",
        "Centred and scaled weights train faster than Weight Normalization's (Huang et al. 2017); there is little "
        "evidence for centring alone, and none beside Batch Normalization, which takes the mean away itself.",
        _MODULES,
    ),
    Entry(
        "bake_weights_",
        "w, the value that evaluation reads",
        "—",
        "Before a model is exported, pickled, folded or served.",
        "Outputs in evaluation are bit for bit the same, and no pass computes the parametrization any more.",
        "any module",
    ),
)
