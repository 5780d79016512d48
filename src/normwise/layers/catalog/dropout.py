"""The layers that draw in training, and what draws from them afterwards."""

from __future__ import annotations

from normwise.layers.catalog._entry import Entry

_RANKS = (1, 2, 3)

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "Dropout",
        "x · mask / (1 − p)",
        "Srivastava et al. 2014",
        "Between wide layers or before a classifier, where training fits far better than validation.",
        "Lowers the error of large perceptrons on small data (Srivastava et al. 2014); in front of Batch Normalization "
        "it shifts variances between training and evaluation (Li et al. 2019).",
        "any",
        fused="dropout= of the fused layers",
        kernel=True,
    ),
    Entry(
        "Dropout#d",
        "x · mask / (1 − p), one draw a channel",
        "Tompson et al. 2015",
        "In convolutional networks, where neighbouring positions tell what a dropped one was.",
        "Better than element dropout for localization in images (Tompson et al. 2015); with Batch Normalization "
        "everywhere there is often nothing left to gain.",
        "(N, C, *)",
        _RANKS,
    ),
    Entry(
        "AlphaDropout",
        "a · (x · mask + α' · (1 − mask)) + b, mean and variance kept",
        "Klambauer et al. 2017",
        "Behind SELU, whose fixed point zeros would leave.",
        "Keeps self-normalizing networks normalized (Klambauer et al. 2017); it has no place behind other activations.",
        "any",
    ),
    Entry(
        "FeatureAlphaDropout",
        "as AlphaDropout, one draw a channel",
        "Klambauer et al. 2017; Tompson et al. 2015",
        "Behind SELU in convolutional networks.",
        "No published comparison is known; it is the two ideas put together.",
        "(N, C, *)",
    ),
    Entry(
        "GaussianDropout",
        "x · n, n ~ N(1, p / (1 − p))",
        "Srivastava et al. 2014",
        "In the place of dropout, where zeros are in the way.",
        "As good as dropout at the same variance, or slightly better (Srivastava et al. 2014, section 10).",
        "any",
    ),
    Entry(
        "GaussianNoise",
        "x + std · n, n ~ N(0, 1)",
        "Bishop 1995",
        "On standardized inputs, where a small change should change little.",
        "Small noise on the inputs is a penalty on the network's derivative (Bishop 1995); behind a layer whose scale "
        "is free, the network can outgrow it.",
        "any",
    ),
    Entry(
        "weight_dropout",
        "w · mask / (1 − p)",
        "Wan et al. 2013; Merity, Keskar & Socher 2018",
        "On the hidden weights of recurrent networks.",
        "Part of what made LSTMs the best word models of their time (Merity, Keskar & Socher 2018); in perceptrons "
        "close to dropout (Wan et al. 2013).",
        "a module with the parameter",
        kernel=True,
    ),
    Entry(
        "DropBlock#d",
        "x · mask · numel(mask) / Σ mask, zeros in blocks",
        "Ghiasi, Lin & Le 2018",
        "In the later stages of deep convolutional networks that are trained for long.",
        "1.6 points of accuracy for a ResNet-50 on ImageNet, against 0.3 of dropout (Ghiasi, Lin & Le 2018: 270 "
        "epochs, with a rate that rises); a short training has less to gain.",
        "(N, C, *)",
        _RANKS,
    ),
    Entry(
        "StochasticDepth",
        "branch · mask / (1 − p), one draw a sample or a batch",
        "Huang et al. 2016",
        "On the branches of deep residual networks and transformers, rates by `stochastic_depth_rates`.",
        "Lower error and shorter training for ResNets of 100 layers and more (Huang et al. 2016); a part of the recipe "
        "of vision transformers (Touvron et al. 2021).",
        "(N, *)",
    ),
    Entry(
        "stochastic_depth_rates",
        "p · l / L",
        "Huang et al. 2016",
        "With StochasticDepth.",
        "Better than one rate for all branches (Huang et al. 2016).",
        "a number of branches and the last one's rate",
    ),
    Entry(
        "WordDropout",
        "x · mask / (1 − p), one draw a token",
        "Iyyer et al. 2015",
        "On embedded tokens, where single words must not decide.",
        "Helps averaging networks on sentiment and questions (Iyyer et al. 2015).",
        "(*, L, C)",
    ),
    Entry(
        "EmbeddingDropout",
        "row of the embedding · mask / (1 − p), one draw a word of the vocabulary",
        "Gal & Ghahramani 2016",
        "In language models, in the place of torch.nn.Embedding.",
        "Part of the variational LSTM (Gal & Ghahramani 2016) and of AWD-LSTM, where a rate of 0.1 is used (Merity, "
        "Keskar & Socher 2018).",
        "integers (*)",
    ),
    Entry(
        "LockedDropout",
        "x · mask / (1 − p), one draw a sequence and feature",
        "Gal & Ghahramani 2016",
        "Between recurrent layers, and as spatial dropout of (N, L, C).",
        "A mask that stays over time loses less memory than a new one at each step (Gal & Ghahramani 2016).",
        "(L, N, C), or (N, L, C) with batch_first",
    ),
    Entry(
        "monte_carlo",
        "y ~ model with dropout drawing, all else in evaluation",
        "Gal & Ghahramani 2016",
        "To see how sure a network with dropout is.",
        "Spread that tells known inputs from unknown ones at no cost of training (Gal & Ghahramani 2016); ensembles "
        "are better calibrated under a shift of the data (Ovadia et al. 2019).",
        "a model with dropout",
    ),
    Entry(
        "predict_with_uncertainty",
        "mean and unbiased variance of y under monte_carlo",
        "Gal & Ghahramani 2016; Welford 1962",
        "To see how sure a network with dropout is.",
        "As monte_carlo; 10 to 100 samples are usual, and the variance's standard error is sqrt(2 / samples) of it.",
        "a model with dropout and its inputs",
    ),
)
