import math
import sys

import pytest
import torch
from torch import nn

from normwise.errors import ArgumentError, MissingPackageError
from normwise.integrations import TensorBoard
from normwise.monitor import Monitor


class Writer:
    """What a SummaryWriter is asked for."""

    def __init__(self) -> None:
        self.scalars: dict[tuple[str, int], float] = {}

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        assert (tag, step) not in self.scalars
        self.scalars[tag, step] = value


def test_every_number_of_a_record_is_written_once() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    writer = Writer()
    with Monitor(model, optimizer, sinks=[TensorBoard(writer)], overhead=math.inf, every=1) as monitor:
        for _ in range(2):
            model(torch.randn(8, 6)).square().mean().backward()
            optimizer.step()
        modes = monitor.check_eval(torch.randn(8, 6))
    first, second = monitor.steps
    assert writer.scalars["monitor/gradient_rms/0", 0] == first["0"].gradient_rms
    assert writer.scalars["monitor/update_ratio/3", 1] == second["3"].update_ratio
    assert writer.scalars["monitor/p50/0", 1] == second["0"].percentiles[1]
    assert writer.scalars["monitor/mean_gap/1", 0] == first.norms[0].mean_gap
    assert writer.scalars["monitor/modes/difference", 2] == modes.difference
    assert not any(tag.startswith("monitor/mean_shift") for tag, _ in writer.scalars)
    assert all(math.isfinite(value) for value in writer.scalars.values())


def test_what_is_no_writer_is_named() -> None:
    with pytest.raises(
        ArgumentError, match=r"`writer` must be a SummaryWriter or a folder\. Got a value of type int"
    ):
        TensorBoard(3)


def test_a_folder_needs_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingPackageError, match=r"normwise\[tensorboard\]"):
        TensorBoard("runs")
