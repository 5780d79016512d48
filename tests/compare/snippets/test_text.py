"""What both programs share: comments, notes, sizes, refusals."""

from __future__ import annotations

import ast
from collections.abc import Callable

import pytest

from normwise.compare.network_spec import Initialization, Network
from normwise.compare.snippets.text import LINE, number
from normwise.compare.variant import Variant
from normwise.errors import ArgumentError
from normwise.norms import KINDS
from normwise.results import Snippet

MLP = Network(kind="mlp", widths=(16, 16, 8))
CNN = Network(kind="cnn", channels=(16, 32, 32), head=(8,))
Write = Callable[..., tuple[Snippet, Snippet]]


def test_programs_are_python_of_a_readable_width(case: tuple[Network, Variant], write: Write) -> None:
    for snippet in write(*case, optimizer="adamw"):
        ast.parse(snippet.text)
        assert max(map(len, snippet.text.splitlines()), default=0) <= LINE + 12
        assert snippet.text.endswith("\n") or not snippet.text


def test_deep_networks_stay_short(write: Write) -> None:
    for network in (Network(kind="mlp", widths=(64,) * 200), CNN.model_copy(update={"channels": (8,) * 200})):
        for residual in {False, network.kind == "cnn"}:
            shape = network.model_copy(update={"residual": residual})
            for snippet in write(shape, Variant(norm="batch", dropout=0.1)):
                assert len(snippet.text.splitlines()) < 70


def test_classes_are_named_in_a_comment_that_no_name_can_leave(write: Write) -> None:
    code, keras = write(MLP, Variant(), classes=("no\nimport os", "yes'", "不"))
    for snippet in (code, keras):
        assert "0 = 'no\\nimport os', 1 = \"yes'\", 2 = '不'" in snippet.text
        assert "\nimport os" not in snippet.text
    many, _ = write(MLP, Variant(), classes=tuple(f"class {i}" for i in range(20)))
    assert "classes 0 to 19" in many.text


def test_large_images_do_not_fill_the_memory(write: Write) -> None:
    code, _ = write(CNN, Variant(), in_shape=(3, 256, 256))
    assert "torch.randn(1000, 3, 256, 256)" in code.text  # two batches
    small, _ = write(MLP, Variant())
    assert "torch.randn(1000, 6)" in small.text


def test_keras_says_what_it_does_not_have(write: Write) -> None:
    for norm, kind in KINDS.items():
        network = MLP if kind.fits_features else CNN
        _, snippet = write(network, Variant(norm=norm))
        assert bool(snippet.text) == kind.keras
        assert (snippet.note == f"Keras 3 has no layer for {kind.title}.") == (not kind.keras)
    assert {norm for norm, kind in KINDS.items() if kind.keras} == {
        *("none", "batch", "layer", "group", "instance", "rms", "spectral"),
    }
    _, spectral = write(MLP, Variant(norm="spectral"))
    assert "no gradient goes through its norm" in spectral.note
    _, augmented = write(CNN, Variant(augment=("shift", "erase", "flip:0.3")))
    assert "without the augmentation flip, erase" in augmented.note
    assert "RandomTranslation" in augmented.text
    _, sparse = write(MLP, Variant(l1=0.1))
    assert "none exactly zero" in sparse.note
    _, images = write(CNN, Variant())
    assert "channels-last" in images.note
    _, lsuv = write(MLP, Variant(), Initialization(scheme="lsuv"))
    assert "LSUV" in lsuv.note


def test_pytorch_has_nothing_to_excuse(case: tuple[Network, Variant], write: Write) -> None:
    assert write(*case)[0].note == ""


def test_a_cnn_on_rows_is_refused(write: Write) -> None:
    with pytest.raises(ArgumentError, match="a cnn needs images"):
        write(CNN, Variant(), in_shape=(6,))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1, "0.1"), (1e-5, "1e-5"), (1e-4, "0.0001"), (10 ** (-2.5), "0.00316228"), (3, "3.0")],
)
def test_numbers_read_as_people_write_them(value: float, text: str) -> None:
    assert number(value) == text
    assert float(text) == pytest.approx(value, rel=1e-5)
