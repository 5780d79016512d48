import pytest

from normwise.errors import DataError
from normwise.results import Estimate, Evaluation, Interval, LayerSignals, TrialRecord, dumps, loads


def record() -> TrialRecord:
    return TrialRecord(
        key="k",
        description={"network": "mlp", "lr": 0.1, "seed": 3},
        outcome="finished",
        evaluations=(Evaluation(0, 0.0, 2.3, 10.0, 2.3, None, 0.1 + 0.2, 11.0),),
        signals=(LayerSignals(0, (1e-300,), (None,), (0.1,), (0.2,), (0.0,), (None,), (0.1, 0.2, None)),),
        layers=("blocks.0",),
        sizes=(64,),
        train_mode_loss=None,
        parameters=7,
        diverged_at=None,
        error=None,
        wall_seconds=0.5,
    )


def test_a_record_survives_the_way_to_json_and_back_to_the_last_bit() -> None:
    assert loads(dumps(record()), TrialRecord) == record()


def test_an_open_interval_stays_open() -> None:
    estimate = Estimate(1.0, Interval(0.5, None), 5, "pp", "at least")
    assert loads(dumps(estimate), Estimate) == estimate


@pytest.mark.parametrize("text", ["", "{", "{}", '{"value": "much"}'])
def test_another_text_is_an_error_that_names_the_record(text: str) -> None:
    with pytest.raises(DataError, match="must be a Estimate in JSON"):
        loads(text, Estimate)
