"""Synchronized batch normalization: processes with parts of any size are one batch."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from normwise import functional, layers
from normwise.layers.sync_batch_norm import AllReduce
from normwise.surgery import synchronize
from normwise.testing import assert_close

CHANNELS = 4
SIZES = {"uneven": (5, 2, 3), "an empty part": (5, 0, 3), "single samples": (1, 1, 1), "nothing": (0, 0, 0)}


def parts(sizes: tuple[int, ...], dtype: torch.dtype = torch.float64, offset: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(n, CHANNELS, 3, 2, generator=generator, dtype=torch.float64) for n in sizes]
    return [(x * (i + 1) + offset * i).to(dtype) for i, x in enumerate(values)]


def cotangent(x: Tensor, seed: int) -> Tensor:
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        x.dtype
    )


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(CHANNELS, CHANNELS, 1),
        layers.SyncBatchNorm(CHANNELS),
        nn.Tanh(),
        layers.BatchNormAct2d(CHANNELS, activation="relu"),
    ).double()


def step(model: nn.Module, x: Tensor, seed: int) -> dict[str, Tensor]:
    model.zero_grad()
    x = x.clone().requires_grad_()
    y = model(x)
    y.backward(cotangent(y, seed))
    found = {"output": y.detach(), "gradient of input": x.grad}
    found |= {f"gradient of {n}": p.grad.clone() for n, p in model.named_parameters()}
    return found | {f"buffer {n}": b.clone() for n, b in model.named_buffers()}


def work(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    found: dict[str, Any] = {}
    for name, sizes in SIZES.items():
        model, _ = synchronize(network())
        found[name] = step(model, parts(sizes)[rank], rank)
    model, _ = synchronize(network())
    torch.compiler.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    compiled(parts(SIZES["uneven"])[rank])
    found["compiled"] = {f"buffer {n}": b.clone() for n, b in model.named_buffers()}
    found["compiled"]["output"] = compiled(parts(SIZES["uneven"])[rank]).detach()
    # A mean of 1e4 deviations, in float32.
    layer = layers.SyncBatchNorm(CHANNELS)
    layer(parts(SIZES["uneven"], torch.float32)[rank])
    x = (parts(SIZES["uneven"], offset=0.0)[rank] + 1e4).float()
    found["far"] = {"output": layer(x).detach(), "variance": layer.running_var.clone()}
    # One process has a value that is not finite: no process moves its statistics.
    layer = layers.SyncBatchNorm(CHANNELS)
    x = parts(SIZES["uneven"], torch.float32)[rank]
    if rank == 1:
        x[0, 2] = torch.inf
    layer(x)
    found["not finite"] = {"mean": layer.running_mean.clone(), "skipped": layer.num_batches_skipped.clone()}
    # A group of two processes; evaluation and frozen statistics ask nobody.
    pair = dist.new_group([0, 1])
    layer = layers.SyncBatchNorm(CHANNELS, process_group=pair if rank < 2 else None).double()
    if rank < 2:
        found["pair"] = step(layer, parts(SIZES["uneven"])[rank], rank)
    layer.eval()(parts((2,) * (rank + 1))[rank])
    layer.freeze_statistics().train()(parts((2,) * (rank + 1))[rank])
    # torch's gradient of a gradient: through both sums.
    x = parts(SIZES["uneven"])[rank].requires_grad_()
    layer = layers.SyncBatchNorm(CHANNELS).double()
    y = layer(x)
    (dx,) = torch.autograd.grad(y, x, cotangent(y, rank), create_graph=True)
    (second,) = torch.autograd.grad(dx, x, cotangent(dx, rank + 10))
    found["second derivative"] = {"gradient": second}
    try:
        nn.SyncBatchNorm(CHANNELS).double()(x)
    except ValueError as error:
        found["torch"] = str(error)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("processes")
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), "3", str(folder)], stderr=subprocess.PIPE, text=True
        )
        for rank in range(3)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(errors)
    return [torch.load(folder / f"{rank}.pt") for rank in range(3)]


def alone(model: nn.Module, sizes: tuple[int, ...]) -> list[dict[str, Tensor]]:
    """What each process should have: the parts of one pass over the whole batch; parameters' gradients are sums."""
    inputs = [x.requires_grad_() for x in parts(sizes)]
    y = model(torch.cat(inputs))
    split = y.split(list(sizes))
    torch.autograd.backward(split, [cotangent(part, rank) for rank, part in enumerate(split)])
    results = []
    for x, part in zip(inputs, split, strict=True):
        found = {"output": part.detach(), "gradient of input": x.grad}
        found |= {f"gradient of {n}": p.grad.clone() for n, p in model.named_parameters()}
        results.append(found | {f"buffer {n}": b.clone() for n, b in model.named_buffers()})
    return results


@pytest.mark.parametrize("name", ["uneven", "an empty part", "single samples"])
def test_parts_are_one_batch(found: list[dict[str, Any]], name: str) -> None:
    model = network()
    expected = alone(model, SIZES[name])
    for key, value in expected[0].items():
        if key.startswith("gradient of ") and "input" not in key:
            total = sum(each[name][key] for each in found)
            assert_close(total, value, what=f"sum of the {key}", scale=1.0)
    for mine, theirs in zip((each[name] for each in found), expected, strict=True):
        for key in ("output", "gradient of input", *(key for key in theirs if key.startswith("buffer"))):
            assert_close(mine[key], theirs[key], what=key, scale=1.0)


def test_no_samples_at_all_leave_everything_finite(found: list[dict[str, Any]]) -> None:
    for each in found:
        assert each["nothing"]["output"].shape == (0, CHANNELS, 3, 2)
        assert all(value.isfinite().all() for value in each["nothing"].values())
        assert each["nothing"]["buffer 1.running_var"].tolist() == [1.0] * CHANNELS


def test_a_compiled_model_does_the_same(found: list[dict[str, Any]]) -> None:
    model = network()
    model(torch.cat(parts(SIZES["uneven"])))
    buffers = {f"buffer {name}": buffer.clone() for name, buffer in model.named_buffers()}
    outputs = model(torch.cat(parts(SIZES["uneven"]))).split(list(SIZES["uneven"]))
    for each, output in zip(found, outputs, strict=True):
        assert_close(each["compiled"]["output"], output, scale=1.0)
        for name, value in buffers.items():
            assert_close(each["compiled"][name], value, what=name)


def test_a_mean_of_ten_thousand_deviations(found: list[dict[str, Any]]) -> None:
    whole = torch.cat([(x + 1e4).float() for x in parts(SIZES["uneven"], offset=0.0)]).double()
    exact = functional.batch_norm(whole, None, None, training=True).split(list(SIZES["uneven"]))
    for each, output in zip(found, exact, strict=True):
        assert_close(each["far"]["output"], output, factor=0.25)  # 16 ulps


def test_all_processes_leave_out_what_is_not_finite_in_one(found: list[dict[str, Any]]) -> None:
    for each in found:
        assert each["not finite"]["mean"].tolist() == [0.0] * CHANNELS
        assert each["not finite"]["skipped"].item() == 1


def test_a_group_is_asked_alone(found: list[dict[str, Any]]) -> None:
    layer = layers.BatchNorm2d(CHANNELS).double()
    expected = alone(layer, SIZES["uneven"][:2])
    for each, theirs in zip(found[:2], expected, strict=True):
        assert_close(each["pair"]["output"], theirs["output"])


def test_second_derivatives(found: list[dict[str, Any]]) -> None:
    sizes = SIZES["uneven"]
    inputs = [x.requires_grad_() for x in parts(sizes)]
    y = layers.BatchNorm2d(CHANNELS).double()(torch.cat(inputs)).split(list(sizes))
    gradients = torch.autograd.grad(
        y, inputs, [cotangent(part, rank) for rank, part in enumerate(y)], create_graph=True
    )
    seconds = torch.autograd.grad(
        gradients, inputs, [cotangent(dx, rank + 10) for rank, dx in enumerate(gradients)]
    )
    for each, second in zip(found, seconds, strict=True):
        assert_close(each["second derivative"]["gradient"], second, scale=1.0)


def test_torchs_refuses_the_cpu(found: list[dict[str, Any]]) -> None:
    """The hurt, so that this would be noticed if it were none any more."""
    assert all("GPU" in each["torch"] for each in found)


def test_one_process_is_batch_normalization() -> None:
    ours, plain = layers.SyncBatchNorm(CHANNELS), layers.BatchNorm2d(CHANNELS)
    x = parts((5,), torch.float32)[0]
    assert torch.equal(ours(x), plain(x))
    assert isinstance(ours, nn.SyncBatchNorm)
    with pytest.raises(ValueError, match="expected at least 2D input"):
        ours(torch.ones(3))


def test_who_shares_is_copied_and_pickled_with_the_layer() -> None:
    model, _ = synchronize(nn.Sequential(layers.BatchNorm1d(CHANNELS)))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert isinstance(vars(other[0])["shared_by"], AllReduce)
        x = parts((5,), torch.float32)[0].flatten(2)
        assert_close(other(x), layers.BatchNorm1d(CHANNELS)(x))


if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
