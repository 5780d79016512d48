import pytest
import torch

from normwise.compare.cost import ROUNDS, CostRecord, cost_result, measure_cost
from normwise.compare.network_spec import Initialization, Network
from normwise.compare.plan import Ground
from normwise.compare.variant import Variant
from normwise.data import load
from normwise.results import dumps, loads


def test_every_variant_is_timed_in_every_burst_and_the_random_state_left_alone() -> None:
    ground = Ground(Network(kind="mlp", widths=(8,)), None, 16, "sgd", 5)
    state = torch.get_rng_state()
    record = measure_cost(
        ground, (Variant(), Variant(norm="batch", dropout=0.1)), (Initialization(),) * 2, load("wine")
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert record.variants == ("none", "batch + dropout 0.1")
    assert [len(times) for times in record.bursts] == [ROUNDS] * 2
    assert all(time > 0 for times in record.bursts for time in times)
    assert loads(dumps(record), CostRecord) == record
    ratio = cost_result(record, "none", "none").ratio
    assert (ratio.value, ratio.interval.low, ratio.interval.high) == (1.0, 1.0, 1.0)


def test_a_ratio_is_taken_burst_by_burst() -> None:
    slow = (0.001, 0.002, 0.001, 0.004)  # what the machine did meanwhile fell on both alike
    record = CostRecord(("none", "batch"), (slow, tuple(1.5 * time for time in slow)))
    result = cost_result(record, "batch", "none")
    assert result.ratio.value == pytest.approx(1.5)
    assert result.ratio.interval.low == pytest.approx(1.5)
    assert result.ratio.interval.high == pytest.approx(1.5)
    assert result.milliseconds == pytest.approx(1.5 * 1.5)
    assert result.low < result.milliseconds < result.high
    assert result.ratio.pairs == 4
