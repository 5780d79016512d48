"""Networks to compare normalizations on: a multilayer perceptron, a convolutional network, the user's own."""

from normwise.models.activation import ACTIVATIONS
from normwise.models.block import POSITIONS, Block
from normwise.models.cnn import CNN, cnn
from normwise.models.mlp import MLP, mlp
from normwise.models.norm import NORMS
from normwise.models.user import UserModel, load_user_model
from normwise.models.user_adapt import SingleLogit
from normwise.models.user_draws import paired_draws
from normwise.models.user_norm import norm_layer

__all__ = [
    "ACTIVATIONS",
    "CNN",
    "MLP",
    "NORMS",
    "POSITIONS",
    "Block",
    "SingleLogit",
    "UserModel",
    "cnn",
    "load_user_model",
    "mlp",
    "norm_layer",
    "paired_draws",
]
