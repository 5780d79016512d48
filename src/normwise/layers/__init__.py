"""Normalization and dropout layers.

The torch-named classes subclass torch's and mean exactly what torch's mean. The fused ones, `…Act`, add
residual, activation and dropout in one call under the same state_dict keys; they are not subclasses of
torch's norms.
"""

from normwise.layers.accumulate_statistics import accumulate_statistics
from normwise.layers.ada_group_norm import AdaGroupNorm
from normwise.layers.ada_in import AdaIN, AdaInstanceNorm1d, AdaInstanceNorm2d, AdaInstanceNorm3d
from normwise.layers.ada_layer_norm import AdaLayerNorm, AdaLayerNormZero
from normwise.layers.bake_weights import bake_weights_
from normwise.layers.batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d, keras_batch_norm
from normwise.layers.batch_norm_act import BatchNormAct1d, BatchNormAct2d, BatchNormAct3d
from normwise.layers.batch_renorm import BatchRenorm1d, BatchRenorm2d, BatchRenorm3d
from normwise.layers.centred_weight import centred_weight
from normwise.layers.conditional_batch_norm import (
    ConditionalBatchNorm1d,
    ConditionalBatchNorm2d,
    ConditionalBatchNorm3d,
)
from normwise.layers.conditional_norm import ConditionalNorm
from normwise.layers.decorrelated_batch_norm import (
    DecorrelatedBatchNorm1d,
    DecorrelatedBatchNorm2d,
    DecorrelatedBatchNorm3d,
)
from normwise.layers.domain_batch_norm import DomainBatchNorm1d, DomainBatchNorm2d, DomainBatchNorm3d
from normwise.layers.drop_block import DropBlock1d, DropBlock2d, DropBlock3d
from normwise.layers.dropout import (
    AlphaDropout,
    Dropout,
    Dropout1d,
    Dropout2d,
    Dropout3d,
    FeatureAlphaDropout,
)
from normwise.layers.dynamic_tanh import DynamicTanh, DynamicTanh1d, DynamicTanh2d, DynamicTanh3d
from normwise.layers.evo_norm_b0 import EvoNorm1dB0, EvoNorm2dB0, EvoNorm3dB0
from normwise.layers.evo_norm_s0 import EvoNorm1dS0, EvoNorm2dS0, EvoNorm3dS0
from normwise.layers.explain_backend import explain_backend
from normwise.layers.film import FiLM
from normwise.layers.filter_response_norm import (
    FilterResponseNorm1d,
    FilterResponseNorm2d,
    FilterResponseNorm3d,
)
from normwise.layers.gaussian_dropout import GaussianDropout, GaussianNoise
from normwise.layers.ghost_batch_norm import GhostBatchNorm1d, GhostBatchNorm2d, GhostBatchNorm3d
from normwise.layers.global_response_norm import (
    GlobalResponseNorm1d,
    GlobalResponseNorm2d,
    GlobalResponseNorm3d,
)
from normwise.layers.group_norm import GroupNorm
from normwise.layers.group_norm_act import GroupNormAct
from normwise.layers.initialize_weight_norm import initialize_weight_norm_
from normwise.layers.instance_norm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from normwise.layers.instance_norm_act import InstanceNormAct1d, InstanceNormAct2d, InstanceNormAct3d
from normwise.layers.layer_norm import LayerNorm, LayerNorm1d, LayerNorm2d, LayerNorm3d
from normwise.layers.layer_norm_act import LayerNormAct, LayerNormAct1d, LayerNormAct2d, LayerNormAct3d
from normwise.layers.linear import Linear
from normwise.layers.local_response_norm import LocalResponseNorm
from normwise.layers.locked_dropout import LockedDropout
from normwise.layers.lockstep import lockstep
from normwise.layers.mean_only_batch_norm import MeanOnlyBatchNorm1d, MeanOnlyBatchNorm2d, MeanOnlyBatchNorm3d
from normwise.layers.modulation import EmbeddingModulation, LinearModulation, SpatialModulation
from normwise.layers.monte_carlo import monte_carlo
from normwise.layers.orthogonal import orthogonal
from normwise.layers.predict_with_uncertainty import Prediction, predict_with_uncertainty
from normwise.layers.rms_norm import RMSNorm, RMSNorm1d, RMSNorm2d, RMSNorm3d
from normwise.layers.rms_norm_act import RMSNormAct, RMSNormAct1d, RMSNormAct2d, RMSNormAct3d
from normwise.layers.scale_norm import ScaleNorm
from normwise.layers.spade import SPADE1d, SPADE2d, SPADE3d
from normwise.layers.spectral_norm import spectral_norm
from normwise.layers.split_batch_norm import SplitBatchNorm1d, SplitBatchNorm2d, SplitBatchNorm3d
from normwise.layers.stochastic_depth import StochasticDepth, stochastic_depth_rates
from normwise.layers.switchable_norm import SwitchableNorm1d, SwitchableNorm2d, SwitchableNorm3d
from normwise.layers.sync_batch_norm import SyncBatchNorm
from normwise.layers.weight_dropout import weight_dropout
from normwise.layers.weight_norm import WeightNorm, remove_weight_norm, weight_norm
from normwise.layers.weight_standardization import weight_standardization
from normwise.layers.word_dropout import EmbeddingDropout, WordDropout

__all__ = [
    "AdaGroupNorm",
    "AdaIN",
    "AdaInstanceNorm1d",
    "AdaInstanceNorm2d",
    "AdaInstanceNorm3d",
    "AdaLayerNorm",
    "AdaLayerNormZero",
    "AlphaDropout",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "BatchNormAct1d",
    "BatchNormAct2d",
    "BatchNormAct3d",
    "BatchRenorm1d",
    "BatchRenorm2d",
    "BatchRenorm3d",
    "ConditionalBatchNorm1d",
    "ConditionalBatchNorm2d",
    "ConditionalBatchNorm3d",
    "ConditionalNorm",
    "DecorrelatedBatchNorm1d",
    "DecorrelatedBatchNorm2d",
    "DecorrelatedBatchNorm3d",
    "DomainBatchNorm1d",
    "DomainBatchNorm2d",
    "DomainBatchNorm3d",
    "DropBlock1d",
    "DropBlock2d",
    "DropBlock3d",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "DynamicTanh",
    "DynamicTanh1d",
    "DynamicTanh2d",
    "DynamicTanh3d",
    "EmbeddingDropout",
    "EmbeddingModulation",
    "EvoNorm1dB0",
    "EvoNorm1dS0",
    "EvoNorm2dB0",
    "EvoNorm2dS0",
    "EvoNorm3dB0",
    "EvoNorm3dS0",
    "FeatureAlphaDropout",
    "FiLM",
    "FilterResponseNorm1d",
    "FilterResponseNorm2d",
    "FilterResponseNorm3d",
    "GaussianDropout",
    "GaussianNoise",
    "GhostBatchNorm1d",
    "GhostBatchNorm2d",
    "GhostBatchNorm3d",
    "GlobalResponseNorm1d",
    "GlobalResponseNorm2d",
    "GlobalResponseNorm3d",
    "GroupNorm",
    "GroupNormAct",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "InstanceNormAct1d",
    "InstanceNormAct2d",
    "InstanceNormAct3d",
    "LayerNorm",
    "LayerNorm1d",
    "LayerNorm2d",
    "LayerNorm3d",
    "LayerNormAct",
    "LayerNormAct1d",
    "LayerNormAct2d",
    "LayerNormAct3d",
    "Linear",
    "LinearModulation",
    "LocalResponseNorm",
    "LockedDropout",
    "MeanOnlyBatchNorm1d",
    "MeanOnlyBatchNorm2d",
    "MeanOnlyBatchNorm3d",
    "Prediction",
    "RMSNorm",
    "RMSNorm1d",
    "RMSNorm2d",
    "RMSNorm3d",
    "RMSNormAct",
    "RMSNormAct1d",
    "RMSNormAct2d",
    "RMSNormAct3d",
    "SPADE1d",
    "SPADE2d",
    "SPADE3d",
    "ScaleNorm",
    "SpatialModulation",
    "SplitBatchNorm1d",
    "SplitBatchNorm2d",
    "SplitBatchNorm3d",
    "StochasticDepth",
    "SwitchableNorm1d",
    "SwitchableNorm2d",
    "SwitchableNorm3d",
    "SyncBatchNorm",
    "WeightNorm",
    "WordDropout",
    "accumulate_statistics",
    "bake_weights_",
    "centred_weight",
    "explain_backend",
    "initialize_weight_norm_",
    "keras_batch_norm",
    "lockstep",
    "monte_carlo",
    "orthogonal",
    "predict_with_uncertainty",
    "remove_weight_norm",
    "spectral_norm",
    "stochastic_depth_rates",
    "weight_dropout",
    "weight_norm",
    "weight_standardization",
]
