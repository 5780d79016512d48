"""Is surgery right on architectures of other libraries? Statements, measured without surgery's own checks.

    python benchmarks/architectures.py [--library timm] [--only resnet] [--json FILE]

Each architecture is built with random weights, in float64 and in float32; weights and biases of its batch and instance
normalizations are drawn, and a few training batches of random inputs fill the running statistics. Then:

- `fold`: max|Δ| / max|y| ≤ 1e-10 in float64 and ≤ 1e-5 in float32, on the example and on inputs that fold never saw;
  or a refusal for rounding, where the folded model is exact in float64 and in float32 as near to it as the given one. A
  norm that was left alone because "neither right before nor right behind it stands a convolution or a linear layer"
  must not be seen to get a tensor from one or to give it one.
- `convert` there and back, torch → normwise → torch, batch → sync → batch and batch → frozen → batch: the same keys and
  bits of the state, the same bits of the evaluation with torch's operators, the same training step; torch's own classes
  at the end. On the way to group and RMS normalization every entry of the state that goes is named as lost.
- `recalibrate`: statistics equal to 1e-6 those that hooks of this script pool in float64, batch by batch for all
  layers, and for some layers in sequence, where they must be those of what the layer sees in evaluation afterwards.
- `insert`, where there is no normalization: the model runs in both modes under the same names, or a refusal.

Libraries that are not installed are listed and not counted. Exit code 1 where a statement does not hold.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.metadata
import json
import logging
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import tree_leaves, tree_map

import normwise as nw
from normwise.errors import ArgumentError
from normwise.layers._tracking import Tracking
from normwise.models import cnn, mlp

LIMITS = {torch.float64: 1e-10, torch.float32: 1e-5}
POOLED = 1e-6
TRAINED = 1e-9  # a training step in float64 before and after a way there and back
SEQUENTIAL = 8  # layers an architecture, at most, since each costs a pass over the data
FAR = "neither right before nor right behind it"
NORM = re.compile("(batch|layer|group|instance|rms).*norm", re.IGNORECASE)
TRIPS = (("torch", "normwise"), ("batch", "sync"), ("batch", "frozen"))
LIBRARIES = ("timm", "transformers", "monai", "torchvision", "normwise")

Inputs = Callable[[int], Any]
Build = Callable[[], nn.Module]


# ---------------------------------------------------------------------------------------------------- architectures


@dataclass(frozen=True)
class Architecture:
    """A model to be built, and inputs for it.

    Attributes:
        library: whose it is.
        name: in the table.
        build: makes it, in training mode.
        inputs: makes a batch of so many samples, in float32.
    """

    library: str
    name: str
    build: Build
    inputs: Inputs


def image(size: int = 64, channels: int = 3, name: str = "") -> Inputs:
    """Batches of images, as a tensor or as a named argument."""

    def make(count: int) -> Any:
        x = torch.randn(count, channels, size, size)
        return {name: x} if name else x

    return make


def volume(size: int = 32) -> Inputs:
    """Batches of volumes with one channel."""
    return lambda count: torch.randn(count, 1, size, size, size)


def text(*names: str, length: int = 12) -> Inputs:
    """Batches of tokens out of 90."""
    return lambda count: {name: torch.randint(0, 90, (count, length)) for name in names}


def of_timm() -> Iterator[Architecture]:
    """Architectures of timm, by their names there."""
    sizes = {"inception_v3": 96}
    small = {"vit_tiny_patch16_224": 64, "mixer_s32_224": 64, "levit_128s": 64}
    names = (
        "resnet18 seresnext26d_32x4d resnetv2_50x1_bit nf_resnet26 nf_regnet_b0 regnetx_002 densenet121 dla34 "
        "hrnet_w18_small inception_v3 mobilenetv3_small_100 efficientnet_b0 "
        "ghostnet_100 repvgg_a0 mobileone_s0 skresnet18 mobilevit_xxs convnext_atto "
        "vit_tiny_patch16_224 mixer_s32_224 levit_128s"
    )
    for name in names.split():

        def build(name: str = name) -> nn.Module:
            options = {"img_size": small[name]} if name in small else {}
            model: nn.Module = importlib.import_module("timm").create_model(name, num_classes=10, **options)
            return model

        yield Architecture("timm", name, build, image(sizes.get(name, 64)))


def of_transformers() -> Iterator[Architecture]:
    """Architectures of transformers, small, by model class and configuration."""
    pixels = image(name="pixel_values")
    words = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    words["intermediate_size"] = 64
    sound = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "conv_dim": (16, 16, 16),
        "conv_stride": (5, 2, 2),
        "conv_kernel": (10, 3, 3),
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
        "apply_spec_augment": False,
        "layerdrop": 0.0,
    }
    residual = {"embedding_size": 16, "hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 2, 1]}

    def waves(count: int) -> Any:
        return {"input_values": torch.randn(count, 1600)}

    def named(kind: str, head: str, inputs: Inputs, name: str = "", **options: Any) -> Architecture:
        def build() -> nn.Module:
            library = importlib.import_module("transformers")
            model: nn.Module = getattr(library, f"{kind}{head}")(getattr(library, f"{kind}Config")(**options))
            return model.train()

        return Architecture("transformers", name or kind, build, inputs)

    def detr() -> nn.Module:
        library = importlib.import_module("transformers")
        backbone = library.ResNetConfig(**residual, out_features=["stage4"])
        sizes = {
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "num_queries": 5,
        }
        model: nn.Module = library.DetrForObjectDetection(
            library.DetrConfig(backbone_config=backbone, **sizes)
        )
        return model.train()

    images = "ForImageClassification"
    yield named("ResNet", images, pixels, **residual)
    yield named("RegNet", images, pixels, **residual, groups_width=8)
    yield named("Bit", images, pixels, **(residual | {"hidden_sizes": [32, 32, 64, 64]}), num_groups=8)
    yield named("MobileNetV1", images, pixels, image_size=64, depth_multiplier=0.5)
    yield named("MobileNetV2", images, pixels, image_size=64, depth_multiplier=0.5)
    yield named("EfficientNet", images, pixels, image_size=64, width_coefficient=0.5, depth_coefficient=0.5,
                hidden_dim=640)  # fmt: skip
    yield named("Levit", images, pixels, image_size=64)
    yield named("PoolFormer", images, pixels, hidden_sizes=[16, 32, 32, 64], depths=[1, 1, 2, 1])
    yield named("ConvNext", images, pixels, hidden_sizes=[16, 32, 32, 64], depths=[1, 1, 2, 1])
    yield named("MobileViT", images, pixels, image_size=64)
    yield named("Cvt", images, pixels, embed_dim=[16, 32, 64], num_heads=[1, 2, 4], depth=[1, 2, 3])
    yield named(
        "SwiftFormer", images, pixels, image_size=64, embed_dims=[16, 32, 32, 64], depths=[1, 1, 2, 1]
    )
    yield named("HGNetV2", images, pixels)
    yield named("TextNet", images, pixels)
    yield named("Segformer", "ForSemanticSegmentation", pixels, hidden_sizes=[16, 32, 32, 64],
                decoder_hidden_size=32, depths=[1, 1, 1, 1])  # fmt: skip
    yield Architecture("transformers", "Detr (frozen)", detr, pixels)
    yield named("Wav2Vec2", "Model", waves, "Wav2Vec2 (group norm)", **sound)
    yield named("Wav2Vec2", "Model", waves, "Wav2Vec2 (layer norm)", **sound, feat_extract_norm="layer",
                conv_bias=True, do_stable_layer_norm=True)  # fmt: skip
    yield named("Wav2Vec2Conformer", "Model", waves, **sound, conv_depthwise_kernel_size=7)
    yield named("Bert", "Model", text("input_ids"), **words)
    yield named("SqueezeBert", "Model", text("input_ids"), **words, embedding_size=32)
    yield named("GPT2", "Model", text("input_ids"), vocab_size=100, n_embd=32, n_layer=2, n_head=4,
                use_cache=False)  # fmt: skip
    yield named("Llama", "Model", text("input_ids"), **words, num_key_value_heads=2, use_cache=False)
    yield named("T5", "Model", text("input_ids", "decoder_input_ids"), vocab_size=100, d_model=32, d_kv=8,
                d_ff=64, num_layers=2, num_heads=4, use_cache=False)  # fmt: skip


def of_monai() -> Iterator[Architecture]:
    """Networks of MONAI, in two and three dimensions, with few channels."""

    def named(kind: str, inputs: Inputs, name: str = "", **options: Any) -> Architecture:
        def build() -> nn.Module:
            model: nn.Module = getattr(importlib.import_module("monai.networks.nets"), kind)(**options)
            return model

        return Architecture("monai", name or kind, build, inputs)

    three = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2}
    tracked = ("instance", {"track_running_stats": True, "affine": True})
    unet = {"channels": (8, 16, 32), "strides": (2, 2), "num_res_units": 2}
    yield named("UNet", volume(16), "UNet (batch)", **three, **unet, norm="batch")
    yield named("UNet", volume(16), "UNet (tracked instance)", **three, **unet, norm=tracked)
    yield named("BasicUNet", volume(16), **three, features=(8, 8, 16, 16, 32, 8), norm="batch")
    yield named("AttentionUnet", image(32, 1), spatial_dims=2, in_channels=1, out_channels=2,
                channels=(8, 16, 32), strides=(2, 2))  # fmt: skip
    yield named("DenseNet", volume(), **three, init_features=8, growth_rate=8, block_config=(2, 3, 2))
    yield named("ResNet", volume(), block="basic", layers=[1, 1, 1, 1], block_inplanes=[8, 16, 32, 64],
                spatial_dims=3, n_input_channels=1, num_classes=3)  # fmt: skip
    yield named("SegResNet", volume(16), spatial_dims=3, norm="batch")
    yield named("VNet", image(32, 1), spatial_dims=2, in_channels=1, out_channels=2, act="elu", dropout_dim=2)
    yield named("HighResNet", volume(16), **three)


def of_torchvision() -> Iterator[Architecture]:
    """Networks of torchvision."""

    def named(
        kind: str, inputs: Inputs, name: str = "", *, frozen: bool = False, **options: Any
    ) -> Architecture:
        def build() -> nn.Module:
            library = importlib.import_module("torchvision")
            more = {"norm_layer": library.ops.FrozenBatchNorm2d} if frozen else {}
            model: nn.Module = getattr(library.models, kind)(num_classes=10, **options, **more)
            return model

        return Architecture("torchvision", name or kind, build, inputs)

    yield named("resnet18", image(), "resnet18 (frozen)", frozen=True)
    yield named("shufflenet_v2_x0_5", image())
    yield named("mnasnet0_5", image())
    yield named("googlenet", image(), aux_logits=False, init_weights=False)
    yield named("squeezenet1_1", image())


def of_normwise() -> Iterator[Architecture]:
    """normwise's own networks with several normalizations."""
    for norm in ("none", "batch", "ghost:4", "layer"):
        yield Architecture(
            "normwise",
            f"mlp {norm}",
            lambda norm=norm: mlp(20, 5, widths=(32, 32), norm=norm, dropout=0.1),
            lambda count: torch.randn(count, 20),
        )
    for norm in ("none", "batch", "batch_renorm", "group", "instance"):
        yield Architecture(
            "normwise",
            f"cnn {norm}",
            lambda norm=norm: cnn(
                (3, 16, 16), 5, channels=(8, 16), head=(16,), norm=norm, norm_head=norm != "instance"
            ),
            image(16),
        )
    yield Architecture(
        "normwise",
        "cnn batch, behind the activation",
        lambda: cnn((3, 16, 16), 5, channels=(8, 16, 16), norm="batch", position="after", residual=True),
        image(16),
    )


ZOO: dict[str, Callable[[], Iterator[Architecture]]] = {
    "timm": of_timm,
    "transformers": of_transformers,
    "monai": of_monai,
    "torchvision": of_torchvision,
    "normwise": of_normwise,
}


# ---------------------------------------------------------------------------------------------------------- running


def drawn(architecture: Architecture, count: int, seed: int, dtype: torch.dtype) -> Any:
    """A batch from a seed; equal values, as far as they go, in all dtypes."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        batch = architecture.inputs(count)
    return cast(batch, dtype)


def cast(batch: Any, dtype: torch.dtype) -> Any:
    """Floating tensors in another dtype."""
    return tree_map(lambda leaf: leaf.to(dtype) if leaf.is_floating_point() else leaf, batch)


def run(model: nn.Module, batch: Any) -> list[Tensor]:
    """All tensors that a model gives, from the same random numbers each time."""
    batch = tree_map(lambda leaf: leaf.clone(), batch)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        output = model(**batch) if isinstance(batch, dict) else model(batch)
    return [leaf.detach() for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


def apart(mine: list[Tensor], theirs: list[Tensor]) -> float:
    """max|Δ| / max|y| of the worst tensor; infinite where shapes differ, or what is finite."""
    if [each.shape for each in mine] != [each.shape for each in theirs] or not theirs:
        return float("inf")
    worst = 0.0
    for one, other in zip(mine, theirs, strict=True):
        one, other = one.double(), other.double()
        finite = other.isfinite()
        if not torch.equal(one.isfinite(), finite):
            return float("inf")
        if finite.any():
            size = other[finite].abs().max().item()
            delta = (one - other)[finite].abs().max().item()
            worst = max(worst, delta / size if size else (0.0 if delta == 0 else float("inf")))
    return worst


def same_bits(mine: list[Tensor], theirs: list[Tensor]) -> bool:
    """Whether tensors are equal, NaN with NaN."""
    return len(mine) == len(theirs) and all(
        one.dtype == other.dtype
        and (torch.equal(one, other) or torch.equal(one.nan_to_num(nan=1e30), other.nan_to_num(nan=1e30)))
        for one, other in zip(mine, theirs, strict=True)
    )


def with_statistics(model: nn.Module) -> dict[str, nn.Module]:
    """Layers that have a running mean and variance which training moves."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _NormBase | Tracking) and isinstance(module._buffers.get("running_var"), Tensor)
    }


def built(architecture: Architecture, dtype: torch.dtype) -> nn.Module:
    """The model in evaluation, with norms that say something and statistics out of training batches."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = architecture.build().to(dtype).train()
        momenta = []
        for module in model.modules():
            held = {**module._parameters, **module._buffers}
            if not isinstance(held.get("running_var"), Tensor):
                continue
            with torch.no_grad():
                if isinstance(held.get("weight"), Tensor):
                    held["weight"].uniform_(0.5, 1.5)
                if isinstance(held.get("bias"), Tensor):
                    held["bias"].normal_(0.0, 0.3)
                if not isinstance(module, _NormBase | Tracking):  # frozen, which no batch fills
                    held["running_mean"].normal_(0.0, 0.3)
                    held["running_var"].uniform_(0.5, 2.0)
            if isinstance(getattr(module, "momentum", None), float):
                momenta.append((module, module.momentum))
                module.momentum = 0.5  # so that four batches leave little of what was there before
        for seed in range(4):
            run(model, drawn(architecture, 8, 100 + seed, dtype))
        for module, momentum in momenta:
            module.momentum = momentum
    return model.eval()


# --------------------------------------------------------------------------------------------------------- findings


@dataclass
class Finding:
    """What was found of one architecture.

    Attributes:
        library, name: which it is.
        norms: how many layers fold looked at.
        folded: how many it took in.
        reasons: why others stayed, "class: reason" → how many.
        errors: by dtype, max|Δ| / max|y|.
        refused: by dtype, why fold gave nothing back.
        modules: before and after.
        trips: way → what was changed and left alone.
        lost: way → what the record says is lost.
        pooled: how → the largest relative difference of statistics.
        inserted: what became of `insert`, where there is no normalization.
        problems: statements that do not hold.
        seconds: all of it.
    """

    library: str
    name: str
    norms: int = 0
    folded: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    modules: tuple[int, int] = (0, 0)
    trips: dict[str, str] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    pooled: dict[str, float] = field(default_factory=dict)
    inserted: str = ""
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def hold(self, statement: bool, otherwise: str) -> None:
        """Note a statement that does not hold."""
        if not statement:
            self.problems.append(otherwise)


def examine(architecture: Architecture) -> Finding:
    """Check all statements on one architecture."""
    finding = Finding(architecture.library, architecture.name)
    start = time.perf_counter()
    try:
        models = {dtype: built(architecture, dtype) for dtype in LIMITS}
    except Exception as error:
        finding.problems.append(f"cannot be built and run: {type(error).__name__}: {error}")
        return finding
    checks = {
        "fold in float64": lambda: check_fold(architecture, models[torch.float64], finding),
        "fold in float32": lambda: check_fold(architecture, models[torch.float32], finding),
        "convert": lambda: check_trips(architecture, models[torch.float64], finding),
        "convert, lost": lambda: check_lost(architecture, models[torch.float32], finding),
        "recalibrate": lambda: check_recalibrated(architecture, models, finding),
        "insert": lambda: check_inserted(architecture, models[torch.float32], finding),
    }
    for name, check in checks.items():
        try:
            check()
        except Exception as error:
            finding.problems.append(f"{name}: {type(error).__name__}: {error}")
    finding.seconds = time.perf_counter() - start
    return finding


# ------------------------------------------------------------------------------------------------------------- fold


def check_fold(architecture: Architecture, model: nn.Module, finding: Finding) -> None:
    """Fold, and measure what that did to the outputs."""
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    key = str(dtype).removeprefix("torch.")
    batches = [drawn(architecture, count, seed, dtype) for count, seed in ((3, 1), (4, 2), (2, 3))]
    before = [run(model, batch) for batch in batches]
    state = cloned(model)
    try:
        folded, edits = nw.fold(model, batches[0])
    except ArgumentError as error:
        finding.refused[key] = str(error)
        finding.hold(true_refusal(architecture, model, str(error)), f"fold in {key} refuses wrongly: {error}")
        return
    error = max(apart(run(folded, batch), old) for batch, old in zip(batches, before, strict=True))
    finding.errors[key] = error
    finding.hold(error <= LIMITS[dtype], f"fold in {key}: {error:.1e} of the largest output")
    finding.hold(
        all(same_bits(run(model, batch), old) for batch, old in zip(batches, before, strict=True))
        and unequal(cloned(model), state) is None,
        f"fold in {key} changed the given model",
    )
    if dtype is torch.float64:
        taken = [edit for edit in edits.changed if edit.why.startswith("in `")]
        finding.folded = len(taken)
        finding.norms = len(taken) + len(edits.left_alone)
        finding.reasons = dict(Counter(f"{edit.before}: {edit.why}" for edit in edits.left_alone))
        finding.modules = (len(list(model.modules())), len(list(folded.modules())))
        beside = beside_layers(model, batches[0])
        false = [edit for edit in edits.left_alone if edit.why.startswith(FAR) and edit.name in beside]
        for edit in false[:1]:
            many = f"{len(false)} norms, `{edit.name}` first,"
            finding.problems.append(f"fold leaves alone {many} ({edit.why}), but {beside[edit.name]}")


def true_refusal(architecture: Architecture, model: nn.Module, words: str) -> bool:
    """Whether a refusal for rounding is one: the fold is exact in float64, and in float32 no worse than the model."""
    if "float32" not in words:
        return False
    batch = drawn(architecture, 3, 1, torch.float32)
    folded, _ = nw.fold(model, batch, tolerance=1.0)
    wide = cast(batch, torch.float64)
    exact = run(copy.deepcopy(model).double(), wide)
    in_double, _ = nw.fold(copy.deepcopy(model).double(), wide)
    own, theirs = apart(run(folded, batch), exact), apart(run(model, batch), exact)
    return apart(run(in_double, wide), exact) <= LIMITS[torch.float64] and own <= 2 * theirs + 1e-6


def beside_layers(model: nn.Module, batch: Any) -> dict[str, str]:
    """Norms that get the very tensor that a convolution or linear layer gave, or give the one that it gets."""
    kept: list[Any] = []  # so that no tensor takes another one's identity
    made: dict[tuple[int, int], str] = {}
    normed: dict[tuple[int, int], str] = {}
    found: dict[str, str] = {}
    names = {module: name for name, module in model.named_modules()}

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        kept.append((args, output))
        if not args or not isinstance(output, Tensor):
            return
        # With the version: an activation in place gives the same tensor on.
        name, given, got = names[module], (id(args[0]), args[0]._version), (id(output), output._version)
        if isinstance(module, nn.Linear | _ConvNd):
            made[got] = name
            if given in normed:
                found[normed[given]] = f"its very output goes into `{name}`"
        elif "running_var" in module._buffers:
            normed[got] = name
            if given in made:
                found[name] = f"its very input comes from `{made[given]}`"

    handles = [
        module.register_forward_hook(after)
        for module in names
        if isinstance(module, nn.Linear | _ConvNd) or "running_var" in module._buffers
    ]
    run(model, batch)
    for handle in handles:
        handle.remove()
    return found


# ---------------------------------------------------------------------------------------------------------- convert


def cloned(model: nn.Module) -> dict[str, Tensor]:
    """The state, copied."""
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def unequal(state: dict[str, Tensor], other: dict[str, Tensor]) -> str | None:
    """In what two states differ, bit by bit."""
    if list(state) != list(other):
        return f"keys {sorted(state.keys() ^ other.keys())[:4] or 'in another order'}"
    return next((key for key in state if not same_bits([state[key]], [other[key]])), None)


def check_trips(architecture: Architecture, model: nn.Module, finding: Finding) -> None:
    """Ways there and back that lose nothing; from torch's own layers, where normwise's stand."""
    model, _ = nw.convert(model, "normwise", "torch")
    batch, state = drawn(architecture, 4, 2, torch.float64), cloned(model)
    kinds = {name: type(module) for name, module in model.named_modules()}
    with nw.use_backend("aten"):
        evaluated, trained = run(model, batch), stepped(model, batch)
    for source, target in TRIPS:
        trip = f"{source} → {target} → {source}"
        try:
            there, first = nw.convert(model, source, target)
        except ArgumentError as error:
            finding.trips[trip] = "nothing to convert"
            finding.hold("the model must have a layer of" in str(error), f"{trip}: {error}")
            continue
        if not first.changed:
            finding.trips[trip] = f"0 changed, {len(first.left_alone)} left"
            continue
        back, second = nw.convert(there, target, source)
        finding.trips[trip] = f"{len(first.changed)} changed, {len(first.left_alone)} left"
        lost = [edit.why for edit in (*first, *second) if "lost" in edit.why]
        finding.hold(not lost, f"{trip} says: {lost[:1]}")
        if source == "batch":
            back, _ = nw.convert(back, "normwise", "torch")
        for what, other in (("there", there), ("and back", back)):
            differs = unequal(cloned(other), state)
            finding.hold(differs is None, f"{trip}, {what}: the state differs in {differs}")
            with nw.use_backend("aten"):
                outputs = run(other.eval(), batch)
            error, exact = apart(outputs, evaluated), same_bits(outputs, evaluated)
            finding.hold(
                exact or (what == "there" and error <= 1e-12), f"{trip}, {what}: evaluation {error:.1e}"
            )
        with nw.use_backend("aten"):
            error = apart(stepped(back, batch), trained)
        finding.hold(error <= TRAINED, f"{trip}: a training step differs by {error:.1e}")
        for name, module in back.named_modules():
            was = kinds.get(name, type(None))
            if was.__module__.startswith("torch.") and not isinstance(module, was):
                finding.problems.append(f"{trip}: `{name}` is a {type(module).__name__}, not {was.__name__}")
                break
    finding.hold(unequal(cloned(model), state) is None, "convert changed the given model")


def stepped(model: nn.Module, batch: Any) -> list[Tensor]:
    """Outputs of a training step of a copy, and its statistics afterwards."""
    model = copy.deepcopy(model).train()
    outputs = run(model, batch)
    return outputs + [
        b.double() for b in model.state_dict().values() if b.numel() > 1 or b.is_floating_point()
    ]


def check_lost(architecture: Architecture, model: nn.Module, finding: Finding) -> None:
    """Ways on which state goes: the record must name it at the layer."""
    batch, state = drawn(architecture, 4, 2, torch.float32), cloned(model)
    words = {"running_mean": "running statistics", "running_var": "running statistics"}
    words |= {"num_batches_tracked": "running statistics", "bias": "bias", "weight": "weight"}
    for source, target in (("batch", "group"), ("layer", "rms")):
        try:
            other, edits = nw.convert(model, source, target, example=batch)
        except ArgumentError as error:
            if "the model must have a layer of" not in str(error):
                finding.lost[f"{source} → {target}"] = f"refused: {error}"
            continue
        said = {edit.name: edit.why for edit in edits}
        gone = sorted(state.keys() - other.state_dict().keys())
        for key in gone:
            owner, _, leaf = key.rpartition(".")
            _, _, lost = said.get(owner, "").partition("lost: ")
            finding.hold(
                words[leaf] in lost, f"{source} → {target}: `{key}` goes, and the record says {lost!r}"
            )
        finding.lost[f"{source} → {target}"] = (
            f"{len(edits.changed)} changed, {len(gone)} entries gone and named"
        )


# ------------------------------------------------------------------------------------------------------ recalibrate


@contextmanager
def pooling(layers: dict[str, nn.Module]) -> Iterator[dict[str, list[Tensor]]]:
    """Keep what goes into layers, in float64."""
    seen: dict[str, list[Tensor]] = {name: [] for name in layers}

    def hook(name: str) -> Any:
        return lambda _module, args: seen[name].append(args[0].detach().double().clone())

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in layers.items()]
    yield seen
    for handle in handles:
        handle.remove()


def pooled(layer: nn.Module, inputs: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and unbiased variance of all values; of instance normalization the means of those of all instances."""
    if "InstanceNorm" in type(layer).__name__:
        values = torch.cat([x.flatten(2) for x in inputs])
        return values.mean(2).mean(0), values.var(2).mean(0)
    values = torch.cat([x.transpose(0, 1).flatten(1) for x in inputs], 1)
    return values.mean(1), values.var(1, correction=0 if getattr(layer, "biased_running_var", False) else 1)


def off(layer: nn.Module, inputs: list[Tensor]) -> float:
    """How far running statistics are from the pooled ones: of the channel's RMS, and of its variance."""
    mean, var = pooled(layer, inputs)
    own_mean, own_var = (layer.get_buffer(f"running_{each}").double() for each in ("mean", "var"))
    size = (var + mean.square()).clamp_min(1e-30)
    by_mean = ((own_mean - mean).abs() / size.sqrt()).max()
    # Of a channel that is constant no variance can be told but for the rounding of its values.
    by_var = ((own_var - var).abs() / (var + 1e-9 * size)).max()
    return float(torch.maximum(by_mean, by_var))


def check_recalibrated(
    architecture: Architecture, models: dict[torch.dtype, nn.Module], finding: Finding
) -> None:
    """Statistics against those that the hooks of this script pool."""
    for how, dtype in (("batch", torch.float64), ("sequential", torch.float32)):
        model = models[dtype]
        names = list(with_statistics(model))
        if not names:
            continue
        data = [drawn(architecture, count, 200 + count, dtype) for count in (6, 4)]
        state = cloned(model)
        chosen = names if how == "batch" else names[:: max(1, -(-len(names) // SEQUENTIAL))]
        try:
            new, edits = nw.recalibrate(model, data, how=how, where=chosen, forward=call)
        except ArgumentError as error:
            finding.problems.append(f"recalibrate, {how}: {error}")
            continue
        done = [edit.name for edit in edits.changed]
        finding.hold(done == chosen, f"recalibrate, {how}: left alone {set(chosen) - set(done)}")
        # By batches each layer normalizes by the batch, as torch's do in training; afterwards by its new statistics.
        watched = copy.deepcopy(model if how == "batch" else new).eval()
        layers = {name: watched.get_submodule(name) for name in done}
        for layer in layers.values():
            layer.training = how == "batch"
        with pooling(layers) as seen:
            for batch in data:
                run(watched, batch)
        several = {name for name, inputs in seen.items() if len(inputs) > len(data)}
        worst = {
            name: off(new.get_submodule(name), inputs)
            for name, inputs in seen.items()
            if inputs and not (how == "sequential" and name in several)
        }
        finding.pooled[how] = max(worst.values(), default=0.0)
        where = max(worst, key=lambda name: worst[name], default="")
        finding.hold(
            finding.pooled[how] <= POOLED, f"recalibrate, {how}: {finding.pooled[how]:.1e} off at `{where}`"
        )
        finding.hold(unequal(cloned(model), state) is None, f"recalibrate, {how}, changed the given model")


def call(model: nn.Module, batch: Any) -> Any:
    """A model called with a batch, a dict of named arguments or a tensor."""
    return model(**batch) if isinstance(batch, dict) else model(batch)


# ----------------------------------------------------------------------------------------------------------- insert


def check_inserted(architecture: Architecture, model: nn.Module, finding: Finding) -> None:
    """A model without normalization gets batch normalization, or the reason why not."""
    if any(NORM.search(type(module).__name__) for module in model.modules()):
        return
    batch, state = drawn(architecture, 4, 2, torch.float32), cloned(model)
    try:
        new, edits = nw.insert(model, "batch", batch)
    except ArgumentError as error:
        finding.inserted = f"refused: {error}"
        return
    finding.inserted = f"{len(edits.changed)} inserted, {len(edits.left_alone)} left"
    finding.hold(
        len(with_statistics(new)) == len(edits.changed), "insert: another number of norms than it says"
    )
    missing = {key for key in state.keys() - new.state_dict().keys() if not key.endswith("bias")}
    finding.hold(not missing, f"insert: keys that are gone: {sorted(missing)[:3]}")
    for mode in (True, False):
        outputs = run(new.train(mode), batch)
        finding.hold(all(bool(each.isfinite().all()) for each in outputs), "insert: not finite")
        finding.hold(
            [o.shape for o in outputs] == [o.shape for o in run(model, batch)], "insert: other shapes"
        )
    finding.hold(unequal(cloned(model), state) is None, "insert changed the given model")


# ------------------------------------------------------------------------------------------------------------ output

COLUMNS = ("library", "architecture", "folded", "left", "Δ f64", "Δ f32", "modules", "there and back", "pooled",
           "insert", "s")  # fmt: skip


def row(finding: Finding) -> tuple[str, ...]:
    """The cells of a finding."""
    errors = [
        "refused" if key in finding.refused else f"{finding.errors.get(key, float('nan')):.0e}"
        for key in ("float64", "float32")
    ]
    trips = "/".join(re.sub(r"\D.*", "", text) or "–" for text in finding.trips.values())
    statistics = " ".join(f"{error:.0e}" for error in finding.pooled.values()) or "–"
    inserted = re.sub(r"[:,].*", "", finding.inserted) or "–"
    left = finding.norms - finding.folded
    modules = "{} → {}".format(*finding.modules)
    cells = (finding.library, finding.name, f"{finding.folded}", f"{left}", *errors, modules)
    return (*cells, trips, statistics, inserted, f"{finding.seconds:.0f}")


def table(findings: list[Finding], absent: list[str]) -> str:
    """The summary, as Markdown."""
    rows = [COLUMNS, *map(row, findings), *((library, "not installed") for library in absent)]
    rows = [(*cells, *("",) * (len(COLUMNS) - len(cells))) for cells in rows]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(COLUMNS))]
    lines = ["| " + " | ".join(map(str.ljust, cells, widths)) + " |" for cells in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def reasons(findings: list[Finding]) -> str:
    """Why norms were left alone, in all architectures together; names are taken out."""
    counts: Counter[str] = Counter()
    where: dict[str, list[str]] = {}
    for finding in findings:
        for reason, count in finding.reasons.items():
            short = re.sub(r"`[^`]*`", "`…`", reason)
            counts[short] += count
            where.setdefault(short, [])
            where[short] += [finding.name] if finding.name not in where[short] else []
    return "\n".join(
        f"{count:5d}  {text}  ({', '.join(where[text])})" for text, count in counts.most_common()
    )


def loads(library: str) -> bool:
    """Whether a library is there; torchvision's compiled operators need not fit this torch."""
    while True:
        try:
            importlib.import_module(library)
        except ImportError:
            return False
        except RuntimeError as error:
            # Python code of torchvision speaks of operators that its compiled part would have declared.
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None:
                raise
            DECLARED.define(f"{missing[1]}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            for name in [name for name in sys.modules if name.partition(".")[0] in ("torchvision", library)]:
                del sys.modules[name]
        else:
            return True


DECLARED = torch.library.Library("torchvision", "FRAGMENT")


def main() -> int:
    """Run what was asked for; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--library", action="append", choices=LIBRARIES, help="only these; may be repeated")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="only architectures with NAME in theirs"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all findings")
    options = parser.parse_args()
    torch.set_num_threads(1)  # small tensors: more threads only wait for each other
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    loads("torchvision")  # which others may import
    present = [library for library in options.library or LIBRARIES if loads(library)]
    absent = [library for library in options.library or LIBRARIES if library not in present]
    findings: list[Finding] = []
    for library in present:
        for architecture in ZOO[library]():
            if options.only and not any(part in architecture.name for part in options.only):
                continue
            findings.append(examine(architecture))
            found = findings[-1]
            print("BROKEN" if found.problems else "holds ", *row(found), sep="  ", flush=True)
            for text in (*found.problems, *map("{0[0]}: {0[1]}".format, found.refused.items())):
                print("        ", text[:600], flush=True)
    versions = {library: importlib.metadata.version(library) for library in ("torch", *present)}
    print("\n" + ", ".join(f"{name} {version}" for name, version in versions.items()))
    print("\n" + table(findings, absent))
    print("\nleft alone by fold:\n" + reasons(findings))
    broken = [f"{each.library} {each.name}: {text}" for each in findings for text in each.problems]
    print(
        f"\n{len(findings)} architectures, {len(findings) - len({b.partition(':')[0] for b in broken})} hold"
    )
    if broken:
        print("\n".join(["broken:", *broken]))
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(each) for each in findings], indent=1, ensure_ascii=False))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
