from pathlib import Path
from typing import Any

import pytest

from normwise.cli.options import decimals, integers, read_spec, words
from normwise.cli.question import initializations, networks
from normwise.errors import ArgumentError


def test_several_values_are_repeated_or_separated_by_commas() -> None:
    assert words(["a, b", "c,", ""]) == ["a", "b", "c"]
    assert words(None) == []
    assert decimals("--lr", ["0.1,1e-3", "2"]) == [0.1, 0.001, 2.0]
    assert integers("--depth", ["2,4"]) == [2, 4]


@pytest.mark.parametrize("text", ["two", "2.5", "1e3"])
def test_what_is_no_whole_number_is_named(text: str) -> None:
    with pytest.raises(ArgumentError, match="`--depth` must be whole numbers"):
        integers("--depth", [f"2,{text}"])


def test_a_question_is_read_from_toml_or_from_a_run(tmp_path: Path) -> None:
    (tmp_path / "q.toml").write_text('data = "wine"\nlrs = [0.1]\n')
    (tmp_path / "run.json").write_text(
        '{"format": "normwise-run", "spec": {"data": "wine", "lrs": [0.1]}, '
        '"resolved": {"seeds": 5}, "budget": 90.0}'
    )
    (tmp_path / "bare.json").write_text('{"data": "wine", "lrs": [0.1]}')
    for name in ("q.toml", "bare.json"):
        assert read_spec(tmp_path / name) == {"data": "wine", "lrs": [0.1]}
    asked = {"data": "wine", "lrs": [0.1]}
    assert read_spec(tmp_path / "run.json") == {**asked, "resolved": {"seeds": 5}, "budget": "90.0s"}


def test_a_question_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q.toml").write_bytes(b"data = \xff\xfe")
    with pytest.raises(ArgumentError, match="another encoding"):
        read_spec(tmp_path / "q.toml")
    with pytest.raises(ArgumentError, match="Is a directory"):
        read_spec(tmp_path)


def test_initializations_are_a_scheme_and_a_factor() -> None:
    assert initializations(["he,xavier:0.1"]) == [
        {"scheme": "he", "scale": 1.0},
        {"scheme": "xavier", "scale": "0.1"},
    ]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ({}, []),
        ({"width": ["8,4"]}, [{"kind": "mlp", "widths": [8, 4]}]),
        ({"channels": ["4"], "head": ["8"]}, [{"kind": "cnn", "channels": [4], "head": [8]}]),
        ({"residual": True}, [{"kind": "cnn", "residual": True}]),
        ({"reduce": "flatten"}, [{"kind": "cnn", "reduce": "flatten"}]),
        ({"activation": "tanh"}, []),  # of whatever networks the data chooses
        (
            {"network": ["mlp,cnn"], "activation": "tanh"},
            [{"kind": k, "activation": "tanh"} for k in ("mlp", "cnn")],
        ),
    ],
    ids=str,
)
def test_the_shape_of_a_network_names_it(shape: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    nothing = dict.fromkeys(
        ("network", "model", "model_args", "width", "channels", "head", "reduce", "activation")
    )
    options: dict[str, Any] = {**nothing, "residual": False} | shape
    assert networks(options.pop("network"), **options) == expected
