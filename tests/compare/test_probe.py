import math

import pytest
import torch

from normwise.compare.probe import (
    CASES,
    DEPTH,
    OUTPUTS,
    ProbeCase,
    ProbeRecord,
    growth,
    measure_probe,
    summarize_probe,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_measured_growth_is_within_three_per_cent_of_theory(case: ProbeCase) -> None:
    measured = [growth(measure_probe(case, seed)) for seed in range(3)]
    assert sum(measured) / 3 == pytest.approx(case.oracle, rel=0.03)


def test_the_oracles_are_those_of_the_literature() -> None:
    assert [round(case.oracle, 3) for case in CASES] == [1.0, 0.5, 1.467]


def test_growth_is_the_factor_going_back_towards_the_input() -> None:
    record = ProbeRecord(tuple(3.0 * 1.5**-layer for layer in range(12)))
    assert growth(record) == pytest.approx(1.5)
    bent = ProbeRecord((1e9, 1.0, 1.0, *record.squared_norms[3:9], 1e9, 1e9, 1e9))
    assert growth(bent) == pytest.approx(1.5)  # the layers at either end do not count


def test_a_probe_gives_every_layer_the_gradient_of_its_pre_activation() -> None:
    case = CASES[1]
    state = torch.get_rng_state()
    record = measure_probe(case, 0, width=16, depth=4, batch=8)
    assert torch.equal(torch.get_rng_state(), state)
    assert record == measure_probe(case, 0, width=16, depth=4, batch=8)
    assert record != measure_probe(case, 1, width=16, depth=4, batch=8)
    assert len(record.squared_norms) == 4

    # The same by hand, with weights drawn by the same seed.
    from normwise.initialize import initialize_
    from normwise.models import mlp

    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(8, 16, generator=generator)
    cotangent = torch.randn(8, OUTPUTS, generator=generator)
    model = mlp(16, OUTPUTS, widths=(16,) * 4)
    initialize_(model, "he", scale=math.sqrt(0.5), seed=0, batch=inputs, activation="relu")
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    expected = []
    with torch.no_grad():
        after = [inputs]
        for layer in linear[:-1]:
            after.append(layer(after[-1]).relu())
        gradient = cotangent @ linear[-1].weight
        for i in reversed(range(4)):
            gradient = gradient * (after[i + 1] > 0)
            expected.append(float(gradient.square().sum()))
            gradient = gradient @ linear[i].weight
    assert record.squared_norms == pytest.approx(expected[::-1], rel=1e-4)


def test_the_summary_has_a_mean_an_interval_and_a_curve_for_every_case() -> None:
    records = {
        case.name: [
            ProbeRecord(tuple((case.oracle + d) ** -layer for layer in range(DEPTH))) for d in (-0.01, 0.01)
        ]
        for case in CASES
    }
    probe = summarize_probe(records)
    assert probe.names == tuple(case.name for case in CASES)
    for estimate, oracle, curve in zip(probe.measured, probe.oracle, probe.curves, strict=True):
        assert estimate.value == pytest.approx(oracle)
        assert estimate.interval.low is not None
        assert estimate.interval.high is not None
        assert estimate.interval.low < oracle < estimate.interval.high
        assert len(curve) == DEPTH
        assert curve[-1] == 1.0
    assert probe.seeds == 2
