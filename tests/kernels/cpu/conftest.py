"""The kernels through their raw binding, and the same mathematics in float64.

Index convention: K models, N samples, C channels, S positions, in memory order (K, N, C, S) or (K, N, S, C).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from types import ModuleType

import pytest
import torch
from torch import Tensor

from normwise import reference
from normwise.geometry import Geometry
from normwise.kernels.cpu import _portable
from normwise.kernels.cpu.call import ACTIVATIONS
from normwise.testing import assert_close

CODES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
DTYPES = tuple(CODES)
FAMILIES = ("across", "group", "layer")
LAYOUTS = ("first", "last")
ISAS = [name for name in ("baseline", "avx2", "avx512") if _portable.has_isa(name)]
EPS, MOMENTUM = 1e-5, 0.1
RESULTS = ("y", "dx", "dresidual", "dweight", "dbias", "running_mean", "running_var", "batches", "skipped")
_GUARD = 37  # values before a tensor: odd, so that it is aligned to its dtype and to nothing more
_ALIGNED_GUARD = 64  # so that it is aligned to a line of the caches


@dataclass(frozen=True)
class Problem:
    """One call of a normalization kernel."""

    family: str = "across"
    layout: str = "first"
    samples: int = 5
    channels: int = 6
    positions: int = 7
    groups: int = 2
    models: int = 1
    dtype: torch.dtype = torch.float32
    parameter_dtype: torch.dtype | None = None
    activation: str = "none"
    residual: bool = False
    rate: float = 0.0
    centred: bool = True
    training: bool = True
    weighted: bool = False
    affine: bool = True
    momentum: float = MOMENTUM
    running_dtype: torch.dtype | None = None
    biased: bool = False
    past_caches: bool = False
    mean: float = 0.5
    spread: float = 1.5
    seed: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        places = (
            (self.channels, self.positions) if self.layout == "first" else (self.positions, self.channels)
        )
        return (self.models, self.samples, *places)

    @property
    def elements(self) -> int:
        return self.samples * self.channels * self.positions

    @property
    def threshold(self) -> int:
        return round(self.rate * 65536)

    @property
    def scale(self) -> float:
        return 65536 / (65536 - self.threshold)

    @property
    def wide(self) -> torch.dtype:
        """The dtype of what is computed."""
        return torch.float64 if self.dtype is torch.float64 else torch.float32

    @property
    def statistics(self) -> int:
        per_sample = {"group": self.groups, "layer": self.positions}
        return (
            self.models * self.channels if self.family == "across" else self.samples * per_sample[self.family]
        )


@dataclass
class Values:
    """The tensors of a call: those it reads, and after it those it wrote."""

    x: Tensor
    dy: Tensor
    residual: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    running_mean: Tensor | None = None
    running_var: Tensor | None = None
    batches: Tensor | None = None
    skipped: Tensor | None = None
    sample_weight: Tensor | None = None
    seeds: Tensor | None = None
    keep: Tensor | None = None
    y: Tensor | None = None
    dx: Tensor | None = None
    dresidual: Tensor | None = None
    dweight: Tensor | None = None
    dbias: Tensor | None = None

    def model(self, k: int) -> Values:
        """A copy of what model k of a stack reads."""
        parts: dict[str, Tensor | None] = {}
        for name in ("x", "dy", "residual", "seeds"):
            value = getattr(self, name)
            parts[name] = None if value is None else value[k : k + 1].clone()
        for name in ("weight", "bias", "running_mean", "running_var"):
            value = getattr(self, name)
            parts[name] = None if value is None else value.chunk(self.x.shape[0])[k].clone()
        zero = torch.zeros((), dtype=torch.int64)
        return Values(batches=zero, skipped=zero.clone(), **parts)


def drawn(problem: Problem) -> Values:
    """Random values for a problem."""
    generator = torch.Generator().manual_seed(problem.seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def uniform(*shape: int) -> Tensor:
        return 0.5 + torch.rand(shape, generator=generator, dtype=torch.float64)

    p, channels = problem, problem.models * problem.channels
    parameter = p.parameter_dtype or p.dtype
    values = Values((p.mean + p.spread * normal(*p.shape)).to(p.dtype), normal(*p.shape).to(p.dtype))
    values.residual = normal(*p.shape).to(p.dtype) if p.residual else None
    if p.affine:
        values.weight, values.bias = uniform(channels).to(parameter), normal(channels).to(parameter)
    if p.family == "across":
        running = p.running_dtype or parameter
        values.running_mean = (p.mean + normal(channels)).to(running)
        values.running_var = (p.spread**2 * uniform(channels)).to(running)
        values.batches = torch.zeros((), dtype=torch.int64)
        values.skipped = torch.zeros((), dtype=torch.int64)
    if p.weighted:
        weight = 2 * uniform(p.samples, p.positions) * (uniform(p.samples, p.positions) < 1.1)
        values.sample_weight = weight.float()
    values.seeds = torch.randint(-(2**62), 2**62, (p.models,), generator=generator)
    return values


def guarded(
    shape: tuple[int, ...], dtype: torch.dtype, *, aligned: bool = False
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """A tensor of NaN (ones, where there is no NaN), and what lies before and behind it in memory."""
    count, guard = torch.Size(shape).numel(), _ALIGNED_GUARD if aligned else _GUARD
    around = torch.full((count + 2 * guard,), torch.nan if dtype.is_floating_point else 1, dtype=dtype)
    return around[guard : guard + count].view(shape), (around[:guard], around[guard + count :])


@contextmanager
def written_past_caches(from_bytes: int = 0) -> Iterator[None]:
    """Within it outputs of so many bytes and more are written past the caches."""
    before = _portable.write_past_caches_from(from_bytes)
    try:
        yield
    finally:
        _portable.write_past_caches_from(before)


def check_guards(*arounds: tuple[Tensor, Tensor]) -> None:
    """Raise AssertionError where something was written beside a tensor that `guarded` gave."""
    for around in arounds:
        edges = torch.cat(around)
        untouched = edges.isnan() if edges.is_floating_point() else edges == 1
        if not bool(untouched.all()):
            raise AssertionError(f"written beside a tensor of {edges.dtype}")


def address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def keep_bits(models: int, elements: int, seeds: Tensor, threshold: int, offset: int = 0) -> Tensor:
    """The packed bits of dropout: 16 bytes for each 128 elements of a model, and 16 more."""
    bits, around = guarded((models * -(-elements // 128) * 16 + 16,), torch.uint8)
    _portable.keep(models, elements, seeds.data_ptr(), offset, threshold, bits.data_ptr())
    check_guards(around)
    return bits


def unpacked(bits: Tensor, models: int, elements: int) -> Tensor:
    """Keep bits as booleans (K, elements)."""
    lanes = (bits[:-16].view(models, -1, 1) >> torch.arange(8, dtype=torch.uint8)) & 1
    return lanes.flatten(1)[:, :elements].bool()


def run(
    problem: Problem,
    values: Values,
    wanted: tuple[str, ...] = ("dx", "dresidual", "dweight", "dbias"),
    over: str | None = None,
) -> Values:
    """Forward and backward of the kernel; running statistics are copies, and what is not `wanted` stays None.

    Args:
        problem: sizes and options.
        values: what is read.
        wanted: gradients to compute.
        over: the gradient ("dx" or "dresidual") that is written over dy.
    """
    p, arounds = problem, []

    def fresh(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        tensor, around = guarded(shape, dtype, aligned=p.past_caches)
        arounds.append(around)
        return tensor

    def own(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else fresh(tuple(tensor.shape), tensor.dtype).copy_(tensor)

    v = replace(values, **{name: own(value) for name, value in vars(values).items()})
    saved = fresh((3 * p.statistics + 2 * p.models * p.channels,), p.wide)
    gate = None
    if p.residual and p.activation == "relu":
        *rows, row = p.shape
        if p.family == "group" and p.positions == 1:
            rows, row = [p.models, p.samples, p.groups], p.channels // p.groups
        gate = fresh((torch.Size(rows).numel() * -(-row // 16),), torch.int16)
    if p.rate and v.keep is None:
        assert v.seeds is not None
        v.keep = keep_bits(p.models, p.elements, v.seeds, p.threshold)
    parameter = CODES[p.parameter_dtype or p.dtype]
    common = (
        FAMILIES.index(p.family), CODES[p.dtype], LAYOUTS.index(p.layout), ACTIVATIONS[p.activation], parameter,
        p.training, p.centred, p.models, p.samples, p.channels, p.positions,
        p.channels if p.family == "across" else p.groups if p.family == "group" else 1, p.scale if p.rate else 1.0,
        *map(address, (v.x, v.residual, v.sample_weight, saved, gate, v.keep)),
    )  # fmt: skip
    v.y = fresh(p.shape, p.dtype)
    read, counted = (v.weight, v.bias, v.running_mean, v.running_var), (v.batches, v.skipped, v.y)
    running = CODES[p.dtype if v.running_mean is None else v.running_mean.dtype]
    for name in wanted:
        source = getattr(v, name[1:])
        if source is not None:
            setattr(v, name, v.dy if name == over else fresh(tuple(source.shape), source.dtype))
    written = (v.dx, v.dresidual, v.dweight, v.dbias)
    with written_past_caches() if p.past_caches else nullcontext():
        _portable.norm_forward(
            *common, EPS, p.momentum, *map(address, read), running, p.biased, *map(address, counted)
        )
        _portable.norm_backward(*common, address(v.dy), *map(address, written))
    check_guards(*arounds)
    return v


def _activate(name: str, z: Tensor) -> Tensor:
    return z if name == "none" else getattr(torch.nn.functional, name)(z)


def expected(problem: Problem, values: Values, keep: Tensor | None) -> Values:
    """The same in float64; where an activation has a kink within rounding, dy becomes 0, for both sides.

    Gives also what the terms of the gradients amount to, in `scales` by name: they may cancel.
    """
    p = problem
    x = values.x.double().requires_grad_()
    leaves = {
        name: value.double().requires_grad_()
        for name in ("residual", "weight", "bias")
        if (value := getattr(values, name)) is not None
    }
    seen = x if p.layout == "first" else x.transpose(2, 3)
    per_channel = (p.models, 1, p.channels, 1)
    result = Values(values.x, values.dy)
    if p.family == "across":
        mean, var, count = _across(p, seen, values)
        if p.training:
            share = 1.0 if p.momentum < 0 else p.momentum
            kept = var if p.biased else var * count / max(count - 1, 1)
            for name, now in (("running_mean", mean), ("running_var", kept)):
                old = getattr(values, name)
                if old is not None:
                    setattr(result, name, old.double() + share * (now.detach().flatten() - old.double()))
        hat = (seen - mean) / torch.sqrt(var + EPS)
    else:
        geometry = (
            replace(Geometry.group(seen.shape[1:], p.groups), centred=p.centred)
            if p.family == "group"
            else Geometry.layer_over_channels(seen.shape[1:], centred=p.centred)
        )
        hat = reference.within_sample(seen[0], geometry, eps=EPS)[None]
    z = hat
    if values.weight is not None:
        z = z * leaves["weight"].view(per_channel) + leaves["bias"].view(per_channel)
    z = z if p.layout == "first" else z.transpose(2, 3)
    z = z + leaves["residual"] if values.residual is not None else z
    if p.activation in ("relu", "leaky_relu"):
        values.dy[z.detach().abs() < 1e-3] = 0
    mask = (
        torch.ones_like(x)
        if keep is None
        else p.scale * unpacked(keep, p.models, p.elements).view(p.shape).double()
    )
    y = _activate(p.activation, z) * mask
    y.backward(values.dy.double())
    result.y, result.dx = y.detach(), x.grad
    for name, leaf in leaves.items():
        setattr(result, f"d{name}", leaf.grad)
    return result


def _across(p: Problem, seen: Tensor, values: Values) -> tuple[Tensor, Tensor, float]:
    """Mean and variance that a batch normalization uses, each (K, 1, C, 1), and the weight of all elements."""
    shape = (p.models, 1, p.channels, 1)
    if not p.training:
        assert values.running_mean is not None
        assert values.running_var is not None
        return values.running_mean.double().view(shape), values.running_var.double().view(shape), 0.0
    if values.sample_weight is None:
        both = [reference.moments(model, Geometry.batch(model.shape)) for model in seen]
        mean, var = (torch.stack(each).view(shape) for each in zip(*both, strict=True))
        return mean, var, float(p.samples * p.positions)
    share = values.sample_weight.double().view(1, p.samples, 1, p.positions)
    mean = (seen * share).sum((1, 3), keepdim=True) / share.sum()
    return mean, ((seen - mean).square() * share).sum((1, 3), keepdim=True) / share.sum(), share.sum().item()


def check(problem: Problem, values: Values | None = None) -> None:
    """Raise AssertionError unless the kernel agrees with float64 in all that it writes."""
    p, values = problem, drawn(problem) if values is None else values
    keep = None
    if p.rate:
        assert values.seeds is not None
        keep = keep_bits(p.models, p.elements, values.seeds, p.threshold)
    want = expected(p, values, keep)
    got = run(p, values)
    terms = _terms(p, values)
    for name in RESULTS:
        mine, other = getattr(got, name), getattr(want, name)
        if mine is not None and other is not None:
            assert_close(mine, other, what=f"{name} of {p}", scale=terms.get(name, 0.0))


def _terms(p: Problem, values: Values) -> dict[str, float]:
    """The magnitude of what is added up, where sums may cancel."""
    seen = values.x.double()
    axes = {
        "across": (1, 3) if p.layout == "first" else (1, 2),
        "group": (2, 3),
        "layer": (2 if p.layout == "first" else 3,),
    }
    spread = seen.var(axes[p.family], correction=0)
    if p.family == "across" and not p.training:
        assert values.running_var is not None
        spread = values.running_var.double()
    smallest = spread.min().item() if spread.numel() else 1.0
    most = 1.0 if values.weight is None else values.weight.double().abs().max().item()
    dy = values.dy.double().abs().max().item() * p.scale if values.dy.numel() else 0.0
    hat = (seen - seen.mean()).abs().max().item() / (smallest + EPS) ** 0.5 if seen.numel() else 0.0
    count = p.samples * p.positions
    return {
        "y": 4.0,
        "dx": dy * most / (smallest + EPS) ** 0.5,
        "dweight": dy * min(hat, count**0.5) * count**0.5,
        "dbias": dy * count**0.5,
        "running_mean": abs(p.mean) + p.spread,
        "running_var": p.spread**2,
    }


@pytest.fixture(scope="session")
def raw() -> ModuleType:
    """This module."""
    return sys.modules[__name__]


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set of this machine, in turn."""
    before = _portable.isa()
    _portable.use_isa(request.param)
    yield request.param
    _portable.use_isa(before)


@pytest.fixture
def threads() -> Iterator[object]:
    """Sets the number of threads; put back after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
