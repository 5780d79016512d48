"""Who asks for a back end, what is noted, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

import normwise as nw
from normwise import functional
from normwise.errors import BackendError, UnknownNameError
from normwise.kernels import registry
from normwise.kernels.cpu import library
from normwise.kernels.registry import BACKENDS, Choice, recorded, requested, use_backend

FASTEST = "native" if library.native() is not None else "portable"


def call(**options: str) -> Tensor:
    return functional.layer_norm(torch.arange(12.0).view(2, 6), (6,), **options)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets NORMWISE_BACKEND, which is read once a process; as before afterwards."""

    def name(value: str) -> None:
        monkeypatch.setenv("NORMWISE_BACKEND", value)
        registry._of_environment.cache_clear()

    name("auto")
    yield name
    registry._of_environment.cache_clear()


def test_the_argument_comes_before_the_block_and_the_block_before_the_environment(
    environment: Callable[[str], None],
) -> None:
    assert requested() == "auto"
    environment("cpu")
    assert requested() == "cpu"
    with use_backend("portable"):
        assert requested() == "portable"
        assert requested("aten") == "aten"
        with use_backend("auto"):
            assert requested() == "auto"
        assert requested() == "portable"
    assert requested() == "cpu"


def test_an_empty_variable_is_none(environment: Callable[[str], None]) -> None:
    environment("")
    assert requested() == "auto"


@pytest.mark.parametrize("name", ["aten", "portable", "cpu", "auto"])
def test_a_name_by_argument_by_block_and_by_environment_runs_the_same(
    name: str, environment: Callable[[str], None]
) -> None:
    with recorded() as choices:
        call(backend=name)
        with use_backend(name):
            call()
        environment(name)
        call()
    ran = [choice.backend for choice in choices]
    assert len(set(ran)) == 1
    assert len(ran) == 3
    expected = {"aten": "aten", "portable": "portable", "cpu": FASTEST}
    assert ran[0] == expected.get(name, ran[0])


def test_unknown_names_list_the_known_ones(environment: Callable[[str], None]) -> None:
    with pytest.raises(
        UnknownNameError, match=r"'atn'\. Did you mean 'aten' or 'auto'\? Known: aten, auto, cpu"
    ):
        call(backend="atn")
    with pytest.raises(UnknownNameError, match=r"'nativ'.*Did you mean 'native'"), use_backend("nativ"):
        pytest.fail("the block must not be entered")
    environment("cuda")
    with pytest.raises(UnknownNameError, match=r"NORMWISE_BACKEND: unknown backend 'cuda'"):
        call()
    assert set(BACKENDS) == {"auto", "aten", "portable", "native", "cpu"}


def test_a_block_ends_with_an_error_too() -> None:
    before = requested()
    with pytest.raises(KeyError), use_backend("aten"):
        raise KeyError
    assert requested() == before


def test_records_nest_and_the_inner_one_takes_what_runs_in_it() -> None:
    with recorded() as outer:
        call(backend="aten")
        with use_backend("portable"), recorded() as inner:
            call()
        call(backend="aten")
    assert [choice.backend for choice in outer] == ["aten", "aten"]
    assert [choice.backend for choice in inner] == ["portable"]
    assert registry.recording() is None


def test_a_choice_says_what_ran_on_what() -> None:
    with recorded() as choices:
        call(backend="portable")
        call(backend="aten")
    portable, aten = choices
    assert (portable.operation, portable.shape, portable.isa) == ("layer_norm", (2, 6), library.isa())
    assert "native" in portable.refused
    assert (aten.isa, aten.refused) == (None, {"cpu": "torch's operators were asked for"})
    assert str(aten) == "layer_norm of 2×6: aten\n  not cpu: torch's operators were asked for"
    assert str(Choice("dropout", (), "aten")) == "dropout of one value: aten"


def test_what_is_in_the_way_of_the_fastest_is_noted() -> None:
    """Where the native binding runs there is nothing to say; where it is not built, how to get it."""
    with recorded() as choices:
        call(backend="cpu")
    assert choices[0].backend == FASTEST
    reason = choices[0].refused.get("native", "")
    assert bool(reason) == (FASTEST != "native")
    assert reason == (library.why_missing("native") or "")


def test_a_binding_that_is_not_there_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "native", lambda: None)
    monkeypatch.setattr(library, "why_missing", lambda name: "it was not built" if name == "native" else None)
    with pytest.raises(
        BackendError, match=r"layer_norm: backend 'native' .*Got it was not built\. hint: ask"
    ):
        call(backend="native")
    with pytest.raises(BackendError, match=r"dropout: backend 'native' .*Got it was not built"):
        functional.dropout(torch.ones(8), 0.5, backend="native")
    with recorded() as choices:
        call(backend="cpu")
    assert choices[0].backend == "portable"
    assert choices[0].refused == {"native": "it was not built"}


def test_without_kernels_torchs_operators_run_and_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "native", lambda: None)
    monkeypatch.setattr(library, "portable", lambda: None)
    monkeypatch.setattr(library, "why_missing", lambda name: "there was no compiler")
    with recorded() as choices:
        call(backend="auto")
    assert [(choice.backend, choice.refused) for choice in choices] == [
        ("aten", {"cpu": "there was no compiler"})
    ]
    for name in ("cpu", "portable", "native"):
        with pytest.raises(BackendError, match="there was no compiler"):
            call(backend=name)


def test_by_default_large_inputs_run_on_the_fastest_kernels() -> None:
    """Without a name, at a size where there is something to gain."""
    x = torch.randn(64, 256, 14, 14).contiguous(memory_format=torch.channels_last)
    model = torch.nn.Sequential(
        nw.BatchNormAct2d(256, activation="relu"),
        nw.GroupNormAct(32, 256, activation="relu"),
        nw.LayerNorm2d(256),
        nw.RMSNorm2d(256),
        nw.InstanceNorm2d(256),
        nw.Dropout(0.5),
    )
    with use_backend("auto"):
        choices = nw.explain_backend(model, x)
    assert [choice.backend for choice in choices] == [FASTEST] * len(model), str(choices)


def test_a_compiled_program_asks_for_torchs_operators() -> None:
    torch.compiler.reset()
    compiled = torch.compile(lambda x: x * BACKENDS.index(requested("auto")), backend="eager", fullgraph=True)
    assert compiled(torch.ones(())).item() == BACKENDS.index("aten")
