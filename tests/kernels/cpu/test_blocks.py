"""Large outputs lie in blocks that the process keeps for the next ones."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest
import torch
from torch import Tensor

import normwise as nw
from normwise.errors import ArgumentError
from normwise.kernels.cpu.outputs import LARGE, like, output_like, output_strided
from normwise.testing import assert_close

KEPT = sys.platform == "linux"
MIB = 2**20
ROWS, COLUMNS = 1024, 1024  # 4 MiB of float32


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """Each test begins and ends without free blocks, and with the limit that holds by default."""
    gc.collect()
    default = nw.keep_memory().limit
    nw.keep_memory(0)
    nw.keep_memory(default)
    yield
    nw.keep_memory(0)
    nw.keep_memory(default)


def bytes_of(count: int) -> int:
    """So many outputs of 4 MiB, where they are kept."""
    return count * 4 * MIB if KEPT else 0


@pytest.mark.parametrize("backend", ["portable", "native"])
def test_what_is_freed_serves_the_next_output(backend: str) -> None:
    layer, x = nw.LayerNorm(COLUMNS), torch.randn(ROWS, COLUMNS)
    with nw.use_backend(backend), torch.no_grad():
        before = nw.keep_memory()
        y = layer(x)
        place, values = y.data_ptr(), y.clone()
        assert nw.keep_memory().in_use - before.in_use == bytes_of(1)
        del y
        assert nw.keep_memory().free == bytes_of(1)
        again = layer(x)
        assert nw.keep_memory().free == 0
        assert (again.data_ptr() == place) or not KEPT
        assert torch.equal(again, values)


@pytest.mark.parametrize("backend", ["portable", "native"])
def test_a_step_of_training_faults_in_no_page_that_an_earlier_one_had(backend: str) -> None:
    layer, x = nw.BatchNorm2d(64), torch.randn(32, 64, 40, 40, requires_grad=True)  # 12.5 MiB
    with nw.use_backend(backend):

        def faults() -> int:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(3):
                (dx,) = torch.autograd.grad(layer(x), x, x.detach())
                del dx
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        assert KEPT
        faults()
        assert (
            faults() < 64
        )  # what Python takes meanwhile; one new output of this size costs a hundred, on large pages


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("inference", [False, True])
def test_a_block_is_a_tensor_like_any_other(dtype: torch.dtype, inference: bool) -> None:
    with torch.inference_mode(inference):
        x = torch.randn(8, 40, 64, 64).to(dtype).to(memory_format=torch.channels_last)
        y = output_like(x)
        assert (nw.keep_memory().in_use >= x.nbytes) is KEPT
        assert (y.dtype, y.shape, y.stride(), y.device) == (dtype, x.shape, x.stride(), x.device)
        assert (y.is_inference(), y.requires_grad, y.is_leaf) == (inference, False, True)
        assert inference or y._version == 0
        assert not y._is_view()
        y.copy_(x)
        assert torch.equal(y, x)
        assert torch.equal(pickle.loads(pickle.dumps(y)), x)


def test_outputs_may_be_changed_in_place_shared_and_sent() -> None:
    layer, x = nw.LayerNorm(COLUMNS), torch.randn(ROWS, COLUMNS, requires_grad=True)
    for backend in ("portable", "native"):
        with nw.use_backend(backend):
            y = layer(x)
            y.mul_(2)  # the layer does not read its output in the backward pass
            y.sum().backward()
            shared = layer(x).detach().share_memory_()
            assert shared.is_shared()
            assert_close(shared, y.detach() / 2)


def test_small_outputs_come_from_torch() -> None:
    x = torch.randn(LARGE // 4 - 1)
    before = nw.keep_memory().in_use
    held = (output_like(x), output_strided(x.shape, x.stride(), x.dtype), nw.Dropout(0.5)(x))
    assert nw.keep_memory().in_use == before
    del held


def test_the_copy_of_a_gradient_lies_as_asked() -> None:
    x = torch.randn(8, 40, 64, 64).to(memory_format=torch.channels_last)
    dy = torch.randn(8, 40, 64, 64)
    copied = like(dy, x)
    assert copied.stride() == x.stride()
    assert torch.equal(copied, dy)
    assert like(copied, x) is copied


def test_a_block_that_is_a_little_larger_serves_and_one_much_larger_does_not() -> None:
    held = output_like(torch.empty(10 * MIB, dtype=torch.float16))  # 20 MiB
    place = held.data_ptr()
    del held
    a_third = output_like(torch.empty(4 * MIB, dtype=torch.float16))
    assert a_third.data_ptr() != place
    a_little_less = output_like(torch.empty(9 * MIB, dtype=torch.float16))
    assert (a_little_less.data_ptr() == place) or not KEPT


def test_beyond_the_limit_what_was_free_longest_goes_back() -> None:
    assert nw.keep_memory(10 * MIB).limit == (10 * MIB if KEPT else 0)
    first, second, third = (output_like(torch.empty(MIB)) for _ in range(3))  # 4 MiB each
    places = [t.data_ptr() for t in (first, second, third)]
    del first, second
    assert nw.keep_memory().free == bytes_of(2)
    del third
    assert nw.keep_memory().free == bytes_of(2)
    left = {output_like(torch.empty(MIB)).data_ptr() for _ in range(1)}
    assert left <= set(places[1:]) or not KEPT
    too_large = output_like(torch.empty(4 * MIB))
    del too_large
    assert nw.keep_memory().free <= 10 * MIB


def test_a_limit_of_nothing_leaves_all_to_torch() -> None:
    held = output_like(torch.empty(MIB))
    assert nw.keep_memory(0).in_use == bytes_of(1)  # what is in use stays valid
    held.fill_(3)
    other = output_like(torch.empty(MIB))
    assert nw.keep_memory().in_use == bytes_of(1)
    assert bool((held == 3).all())
    del held, other
    assert nw.keep_memory() == nw.keep_memory(0)
    assert nw.keep_memory().free == nw.keep_memory().in_use == 0


_SHORT = """
import resource
import torch
import normwise as nw
from normwise.kernels.cpu.outputs import output_like

MIB = 2**20
like = [torch.empty(1).expand(n * MIB // 4) for n in (100, 130)]
small = output_like(like[0].contiguous())
del small
free = nw.keep_memory().free
in_use = next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]
wanted = like[1].contiguous()
resource.setrlimit(resource.RLIMIT_AS, (int(in_use) * 1024 + (130 + 60) * MIB,) * 2)
large = output_like(wanted)
large.fill_(1)
print(free // MIB, nw.keep_memory().free, nw.keep_memory().in_use // MIB)
"""


def test_where_memory_is_short_what_is_free_goes_back_first() -> None:
    assert KEPT
    done = subprocess.run([sys.executable, "-c", _SHORT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["100", "0", "130"]


@pytest.mark.parametrize("limit", [-1, 1.5, "1 GiB", 2**63])
def test_a_limit_that_is_none_is_refused(limit: object) -> None:
    before = nw.keep_memory()
    with pytest.raises(ArgumentError, match="`limit` must be a number of bytes"):
        nw.keep_memory(limit)  # type: ignore[arg-type]
    assert nw.keep_memory() == before


def test_threads_never_share_a_block() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(40):
            mine = output_like(torch.empty(MIB)).fill_(number)
            also = output_like(torch.empty(MIB + 1000)).fill_(-number)
            if not (bool((mine == number).all()) and bool((also == -number).all())):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(i + 1,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert nw.keep_memory().in_use == 0


def _in_child(x: Tensor, sent: Connection) -> None:
    torch.set_num_threads(1)
    mine = output_like(x)
    sent.send((mine.data_ptr(), nw.keep_memory().in_use))
    os._exit(0)


def test_a_child_of_fork_has_blocks_of_its_own() -> None:
    held = output_like(torch.empty(MIB)).fill_(5)
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_in_child, args=(torch.empty(MIB), send))
    child.start()
    assert receive.poll(60)
    place, in_use = receive.recv()
    child.join()
    assert place != held.data_ptr()
    assert in_use == bytes_of(2)
    assert nw.keep_memory().in_use == bytes_of(1)
    assert bool((held == 5).all())
