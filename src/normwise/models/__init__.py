"""Networks to compare normalizations on: a multilayer perceptron and a convolutional network."""

from normwise.models.activation import ACTIVATIONS
from normwise.models.block import POSITIONS, Block
from normwise.models.cnn import CNN, cnn
from normwise.models.mlp import MLP, mlp
from normwise.models.norm import NORMS

__all__ = ["ACTIVATIONS", "CNN", "MLP", "NORMS", "POSITIONS", "Block", "cnn", "mlp"]
