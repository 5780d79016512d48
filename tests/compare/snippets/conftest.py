"""Networks and variants that the programs of both frameworks are held against."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from normwise.compare.network import build
from normwise.compare.network_spec import Initialization, Network
from normwise.compare.snippets import snippets
from normwise.compare.variant import Variant
from normwise.norms import KINDS
from normwise.results import Snippet

ROW, IMAGE, CLASSES = (6,), (2, 8, 8), ("a", "b", "c")
MLP = Network(kind="mlp", widths=(16, 16, 8))
CNN = Network(kind="cnn", channels=(16, 32, 32), head=(8,))
RESIDUAL = Network(kind="cnn", channels=(16, 16, 32), head=(), residual=True)

FITS = {"mlp": lambda kind: kind.fits_features, "cnn": lambda kind: kind.fits_images}

CASES: dict[str, tuple[Network, Variant]] = {
    **{
        f"{network.kind} {norm}": (network, Variant(norm=norm))
        for network in (MLP, CNN)
        for norm in (*KINDS, "group:4", "ghost:16", "batch_renorm:100", "decorrelated:2", "evonorm_s0:4")
        if (FITS["mlp"] if network is MLP else FITS["cnn"])(KINDS[norm.partition(":")[0]])
    },
    **{
        f"residual {norm}": (RESIDUAL, Variant(norm=norm, position=position, dropout=dropout))
        for norm, position, dropout in (
            ("none", "before", 0.0),
            ("batch", "before", 0.2),
            ("batch", "after", 0.2),
            ("group", "before", 0.0),
            ("layer", "after", 0.0),
            ("weight", "before", 0.0),
            ("spectral", "before", 0.0),
            ("standardized", "before", 0.0),
            ("orthogonal", "before", 0.2),
            ("ghost:16", "after", 0.0),
            ("evonorm_b0", "before", 0.2),
            ("evonorm_s0", "before", 0.0),
            ("filter_response", "after", 0.0),
            ("local_response:3", "before", 0.0),
            ("decorrelated:4", "before", 0.0),
        )
    },
    "after, dropout": (MLP, Variant(norm="batch", position="after", dropout=0.25)),
    "cnn after, dropout": (CNN, Variant(norm="layer", position="after", dropout=0.25)),
    "output": (MLP, Variant(norm="batch", norm_output=True)),
    "cnn output": (CNN, Variant(norm="rms", norm_output=True)),
    "weight output": (MLP, Variant(norm="weight", norm_output=True)),
    "spectral output": (MLP, Variant(norm="spectral", norm_output=True)),
    "switchable output": (MLP, Variant(norm="switchable", position="after", norm_output=True)),
    "flatten": (CNN.model_copy(update={"reduce": "flatten"}), Variant(norm="batch")),
    "deep": (Network(kind="mlp", widths=(8,) * 12), Variant(norm="layer", dropout=0.1)),
    "deep cnn": (Network(kind="cnn", channels=(8,) * 9, residual=True), Variant(norm="batch")),
    "linear": (Network(kind="mlp", widths=()), Variant()),
    "leaky": (Network(kind="mlp", widths=(16,), activation="leaky_relu"), Variant()),
    "gelu": (Network(kind="mlp", widths=(16,), activation="gelu"), Variant()),
    "silu": (Network(kind="cnn", channels=(4,), activation="silu"), Variant()),
    "tanh": (Network(kind="mlp", widths=(16,), activation="tanh"), Variant()),
    "sigmoid": (Network(kind="mlp", widths=(16,), activation="sigmoid"), Variant()),
}


def _write(
    network: Network,
    variant: Variant,
    initialization: Initialization | None = None,
    *,
    in_shape: tuple[int, ...] | None = None,
    classes: tuple[str, ...] = CLASSES,
    optimizer: str = "sgd",
    lr: float = 0.1,
    steps: int = 1,
) -> tuple[Snippet, Snippet]:
    """The programs, with few large batches so that running one takes no time."""
    return snippets(
        network,
        variant,
        initialization or Initialization(),
        in_shape=in_shape or (ROW if network.kind == "mlp" else IMAGE),
        out_features=len(classes) or 1,
        task="classification" if classes else "regression",
        classes=classes,
        optimizer=optimizer,
        lr=lr,
        batch_size=500,
        steps=steps,
    )


def _compared(network: Network, variant: Variant, in_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """The network that was compared, in evaluation mode, with a state in which no two layers are alike."""
    generator = torch.Generator().manual_seed(0)
    model = build(network, variant, in_shape, outputs).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                drawn = torch.randn(tensor.shape, generator=generator)
                tensor.copy_(drawn.abs() + 0.5 if name.endswith(("_var", "original0")) else 0.5 * drawn)
    return model


def _inputs(in_shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(5, *in_shape, generator=torch.Generator().manual_seed(1))


Case = tuple[Network, Variant]


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    """A network and a variant of it."""
    chosen: Case = request.param
    return chosen


@pytest.fixture
def write() -> Callable[..., tuple[Snippet, Snippet]]:
    """Both programs for a network and a variant."""
    return _write


@pytest.fixture
def compared() -> Callable[..., nn.Module]:
    """The network that was compared."""
    return _compared


@pytest.fixture
def inputs() -> Callable[[tuple[int, ...]], torch.Tensor]:
    """A few inputs of a shape."""
    return _inputs
