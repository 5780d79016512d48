"""Recalibration over processes with different numbers of batches is that of all batches in one process."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from normwise import layers
from normwise.surgery import recalibrate

WORLD = 3
COUNTS = (3, 0, 1)  # batches of each process: they could not all call a collective as often


def batches() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(n, 4, generator=generator, dtype=torch.float64) * (i + 1) + 4 * i
        for i, n in enumerate((5, 2, 7, 3))
    ]


def own(rank: int) -> list[Tensor]:
    before = sum(COUNTS[:rank])
    return batches()[before : before + COUNTS[rank]]


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.BatchNorm1d(4),
        nn.Linear(4, 4),
        layers.SyncBatchNorm(4),
        nn.Dropout(0.5),
        nn.SyncBatchNorm(4),
        layers.BatchNormAct1d(4, activation="relu", dropout=0.2),
    ).double()


def refused(call: Any) -> str:
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # as in this folder's other tests: the same draws
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    found: dict[str, Any] = {}
    for how in ("batch", "sequential"):
        model, edits = recalibrate(network(), own(rank), how=how)
        found[how] = (model.state_dict(), [tuple(edit) for edit in edits], edits.notes)
    parallel = nn.parallel.DistributedDataParallel(network()[:2])  # it takes no SyncBatchNorm on the CPU
    model, _ = recalibrate(parallel, own(rank), inplace=True)
    found["parallel"] = model.module.state_dict()
    model, _ = recalibrate(network(), own(rank) or batches()[:1], distributed=False)
    found["alone"] = model.state_dict()
    pair = dist.new_group([0, 2])
    if rank != 1:
        found["pair"] = recalibrate(network(), own(rank), process_group=pair)[0].state_dict()
    found["empty"] = refused(lambda: recalibrate(network(), []))
    bad = [*own(rank), torch.zeros(2, 3, dtype=torch.float64)] if rank == 2 else own(rank)
    model = network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found["failed"] = refused(lambda: recalibrate(model, bad, inplace=True))
    found["unchanged"] = all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    narrow = nn.BatchNorm1d(1).half()
    # The variance of a batch of one process is beyond float16, that of all batches is not.
    wide = torch.tensor([[400.0], [-400.0]]) if rank == 1 else torch.ones(400, 1)
    found["beyond"] = refused(lambda: recalibrate(narrow, [wide.half()], inplace=True))
    found["kept"] = float(narrow.running_var)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("processes")
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(folder)], stderr=subprocess.PIPE, text=True
        )
        for rank in range(WORLD)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(errors)
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]


def assert_states(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(actual[key], value, rtol=1e-12, atol=1e-12, msg=key)


@pytest.mark.parametrize("how", ["batch", "sequential"])
def test_all_processes_have_the_statistics_of_all_batches(found: list[dict[str, Any]], how: str) -> None:
    expected, edits = recalibrate(network(), batches(), how=how)
    for each in found:
        state, rows, notes = each[how]
        assert_states(state, expected.state_dict())
        assert all(torch.equal(value, found[0][how][0][key]) for key, value in state.items())
        assert rows == [tuple(edit) for edit in edits]
        assert notes == ("merged over 3 processes",)
    assert expected[0].num_batches_tracked == 4


def test_a_wrapped_model_and_a_group_and_none(found: list[dict[str, Any]]) -> None:
    expected = recalibrate(network(), batches())[0].state_dict()
    for each in found:
        assert_states(each["parallel"], {key: expected[key] for key in each["parallel"]})
        assert "0.running_var" in each["parallel"]
    for rank in (0, 2):
        assert_states(found[rank]["pair"], expected)
    for rank, each in enumerate(found):
        mine = own(rank) or batches()[:1]
        assert_states(each["alone"], recalibrate(network(), mine)[0].state_dict())


def test_an_error_of_one_is_one_of_all(found: list[dict[str, Any]]) -> None:
    assert all("`loader` must give a batch. Got none" in each["empty"] for each in found)
    assert [each["failed"].partition(":")[0] for each in found] == [
        "ArgumentError",
        "ArgumentError",
        "RuntimeError",
    ]
    assert "all processes must succeed. Got an error in 2" in found[0]["failed"]
    assert all(each["unchanged"] for each in found)


def test_what_one_process_cannot_hold_is_refused_by_all(found: list[dict[str, Any]]) -> None:
    for each in found:
        assert "the statistics of a batch of the model must fit into float16" in each["beyond"]
        assert each["kept"] == 1.0


if __name__ == "__main__":
    work(int(sys.argv[1]), sys.argv[2])
