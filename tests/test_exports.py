import json
import subprocess
import sys
import types
from typing import Any

import pytest

import normwise as nw
import normwise.layers
from normwise._exports import attach


def python(program: str) -> Any:
    """What a program prints as JSON in a fresh interpreter."""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_every_layer_is_exported_at_the_top() -> None:
    assert len(normwise.layers.__all__) > 30
    for name in normwise.layers.__all__:
        assert getattr(nw, name) is getattr(normwise.layers, name)
        assert name in dir(nw)


@pytest.mark.parametrize(
    "name",
    [
        "compare",
        "report",
        "load",
        "initialize_",
        "mlp",
        "cnn",
        "L1",
        "L2",
        "Elastic",
        "parameter_groups",
        "sparsity",
    ],
)
def test_what_stands_beside_the_layers_is_exported_too(name: str) -> None:
    assert callable(getattr(nw, name))
    assert name in dir(nw)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'normwise' has no attribute 'BatchNrom'"):
        nw.BatchNrom  # noqa: B018
    with pytest.raises(AttributeError, match=r"module 'normwise.compare' has no attribute 'nothing'"):
        nw.compare.nothing  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = """
import json, sys
import normwise
heavy = {"torch", "numpy", "pydantic", "scipy", "sklearn", "matplotlib", "rich", "typer"}
print(json.dumps(sorted(heavy & sys.modules.keys())))
"""
    assert python(program) == []


def test_checking_a_question_does_not_import_torch() -> None:
    program = """
import json, sys
from normwise.compare import make_spec, product
make_spec({"data": "wine", "variants": product(norms=["none", "batch"])})
print(json.dumps("torch" in sys.modules))
"""
    assert python(program) is False


def test_compare_and_report_are_called_before_and_after_their_modules_are_imported() -> None:
    # A question that cannot be, and a path that cannot be: both get as far as the function behind the name.
    program = """
import json
import normwise as nw

def ask():
    answers = []
    for call in (lambda: nw.compare("digits", seeds=0), lambda: nw.report(None, "report.txt")):
        try:
            call()
        except nw.errors.NormwiseError as error:
            answers.append(str(error).split(":")[0])
    return answers

import normwise.errors
before = ask()
import normwise.compare.api, normwise.compare.run, normwise.report.write, normwise.report.build
from normwise.compare import compare
from normwise.report import report
after = ask()
print(json.dumps([before, after, callable(compare), callable(report)]))
"""
    before, after, compare, report = python(program)
    assert before == after == ["compare", "report"]
    assert compare
    assert report


def test_a_package_that_is_not_to_be_called_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("normwise_example")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "normwise_example", package)
    attach("normwise_example", {"sqrt": "math"})
    assert package.sqrt(4.0) == 2.0
    assert vars(package)["sqrt"] is package.sqrt  # asked for once, found afterwards
    assert "sqrt" in dir(package)
    with pytest.raises(TypeError, match="not callable"):
        package()  # type: ignore[operator]
    with pytest.raises(AttributeError, match="no attribute 'cos'"):
        package.cos  # noqa: B018

    attach("normwise_example", {"hypot": "math"}, call="hypot")
    assert package(3.0, 4.0) == 5.0  # type: ignore[operator]
