import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import normwise.compare.store
from normwise.compare.store import Store, read_header, write_atomically
from normwise.errors import StoreError
from normwise.results import SCHEMA_VERSION, TrialRecord

MakeRecord = Callable[..., TrialRecord]
HEADER = {"spec": {"data": "wine", "steps": 10, "seeds": 2}, "versions": {"torch": "2.13.0"}}


def opened(directory: Path, *, identity: str = "a", header: dict[str, Any] = HEADER) -> Store:
    return Store(directory, identity=identity, header=header)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def run(tmp_path: Path, make_record: MakeRecord) -> Path:
    """A run with two records."""
    with opened(tmp_path / "run") as store:
        store.append("trial", "first", make_record("first"))
        store.append("trial", "second", make_record("second"))
    return tmp_path / "run"


def test_what_was_recorded_is_there_again(run: Path, make_record: MakeRecord) -> None:
    expected = {key: make_record(key) for key in ("first", "second")}
    with opened(run) as store:
        assert store.records("trial", TrialRecord) == expected
        assert store.records("cost", TrialRecord) == {}
        store.append("trial", "third", make_record("third"))
        assert list(store.records("trial", TrialRecord)) == ["first", "second", "third"]
    with opened(run) as store:
        assert list(store.records("trial", TrialRecord)) == ["first", "second", "third"]
    header = read_header(run)
    assert (header["schema"], header["identity"], header["spec"]) == (SCHEMA_VERSION, "a", HEADER["spec"])


def test_a_record_is_on_disk_when_append_returns(tmp_path: Path, make_record: MakeRecord) -> None:
    with opened(tmp_path / "run") as store:
        store.append("trial", "first", make_record("first"))
        text = (tmp_path / "run" / "records.jsonl").read_text()
    assert text.endswith("\n")
    assert json.loads(text)["key"] == "first"


@pytest.mark.parametrize("cut", [1, 5, 300])
def test_a_half_written_last_line_is_cut_and_the_rest_kept(
    run: Path, make_record: MakeRecord, cut: int
) -> None:
    path = run / "records.jsonl"
    whole = path.read_bytes()
    first = whole[: whole.index(b"\n") + 1]
    path.write_bytes(whole[:-cut])
    with opened(run) as store:
        assert list(store.records("trial", TrialRecord)) == ["first"]
        assert path.read_bytes() == first
        store.append("trial", "second", make_record("second"))
    assert path.read_bytes() == whole


@pytest.mark.parametrize("damage", [b"{]\n", b"[1, 2]\n", b'{"kind": "trial"}\n', b"\xff\xfe\n", b"\n"])
def test_a_corrupt_line_is_refused_by_its_number_and_nothing_is_changed(run: Path, damage: bytes) -> None:
    path = run / "records.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + damage + lines[1])
    before = path.read_bytes()
    for _ in range(2):  # the second time: the lock was given back
        with pytest.raises(StoreError, match=r"line 2 of .*delete that line"):
            opened(run)
    assert path.read_bytes() == before


def test_another_question_is_refused_with_what_differs(run: Path) -> None:
    before = contents(run)
    other = {**HEADER, "spec": {"data": "digits", "steps": 20, "seeds": 9}}
    with pytest.raises(StoreError, match=r"differs in data, steps\)") as caught:
        opened(run, identity="b", header=other)
    assert "--out" in str(caught.value)
    with pytest.raises(StoreError, match="the contents of the data"):
        opened(run, identity="b")
    assert contents(run) == before


def test_more_seeds_are_the_same_question(run: Path) -> None:
    with opened(run, header={**HEADER, "spec": HEADER["spec"] | {"seeds": 9}}) as store:
        assert len(store.records("trial", TrialRecord)) == 2
    assert read_header(run)["spec"]["seeds"] == 9


def test_another_torch_is_refused(run: Path) -> None:
    with pytest.raises(StoreError, match=r"torch 2\.14\.0 for a run begun with 2\.13\.0"):
        opened(run, header=HEADER | {"versions": {"torch": "2.14.0"}})


def test_other_kernels_are_refused(run: Path) -> None:
    versions = {"torch": "2.13.0", "kernels": "avx512"}
    with pytest.raises(StoreError, match=r"one set of kernels.*kernels avx512 for a run begun with None"):
        opened(run, header=HEADER | {"versions": versions})


def test_another_version_of_the_store_is_refused_with_a_hint(run: Path) -> None:
    header = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(header | {"schema": SCHEMA_VERSION + 1}))
    before = contents(run)
    with pytest.raises(
        StoreError, match=f"version {SCHEMA_VERSION + 1} in .*hint: give --out a new directory"
    ):
        opened(run)
    assert contents(run) == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("thesis.tex", "years of work"),
        ("run.json", '{"format": "somebody else\'s"}'),
        ("run.json", "[1, 2]"),
        ("run.json", "no json"),
    ],
)
def test_a_foreign_directory_is_refused_and_left_untouched(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(StoreError, match=r"give --out another directory|give another name"):
        opened(tmp_path)
    assert contents(tmp_path) == {name: text.encode()}


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(StoreError, match="must be a directory"):
        opened(file)
    with pytest.raises(StoreError, match="directory"):
        opened(file / "below")
    assert file.read_text() == "mine"


def test_an_empty_directory_is_a_new_run(tmp_path: Path) -> None:
    with opened(tmp_path):
        assert (tmp_path / "run.json").exists()


def test_a_run_killed_while_its_header_was_written_is_new(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".run.json.k1ll3d").write_text('{"format": "norm')
    with opened(tmp_path) as store:
        assert store.records("trial", TrialRecord) == {}
        assert read_header(tmp_path)["identity"] == "a"


def test_two_writers_are_one_too_many(run: Path, make_record: MakeRecord) -> None:
    with opened(run) as store:
        before = contents(run)
        with pytest.raises(StoreError, match="another process is writing"):
            opened(run)
        assert contents(run) == before
        store.append("trial", "third", make_record("third"))
    with opened(run) as store:
        assert len(store.records("trial", TrialRecord)) == 3


def test_who_waited_for_the_lock_reads_what_was_written_meanwhile(
    tmp_path: Path, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "run"
    check = normwise.compare.store._check
    met = []

    def check_then_lose_the_race(*arguments: Any) -> bool:
        fresh = check(*arguments)
        if not met:
            met.append(fresh)
            with Store(directory, identity="a", header=HEADER) as other:
                other.append("trial", "first", make_record("first"))
        return fresh

    monkeypatch.setattr(normwise.compare.store, "_check", check_then_lose_the_race)
    with opened(directory) as store:
        assert met == [True]
        assert list(store.records("trial", TrialRecord)) == ["first"]


FULL_DISK = """
import json, resource, sys
from pathlib import Path
from normwise.compare.store import Store
from normwise.errors import StoreError
from normwise.results import Interval

directory, header = Path(sys.argv[1]), json.loads(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
written = 0
try:
    with Store(directory, identity="a", header=header) as store:
        for number in range(100):
            store.append("interval", str(number), Interval(0.0, float(number)))
            written += 1
except StoreError as error:
    print(written, error)
    sys.exit(2)
"""


def test_a_full_disk_ends_in_one_message_and_earlier_records_survive(tmp_path: Path) -> None:
    # A real write that fails half-way: files of this process may not grow beyond 2,000 bytes.
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "run"), json.dumps(HEADER)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2, result.stderr
    written, message = result.stdout.split(" ", 1)
    assert int(written) > 10
    assert "go" in message
    assert "make room" in message
    assert "Traceback" not in result.stderr
    lines = (tmp_path / "run" / "records.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) == int(written)
    assert all(line.endswith(b"\n") for line in lines)
    with opened(tmp_path / "run") as store:
        assert len(store._lines) == int(written)


def test_a_file_is_replaced_whole_or_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "comparison.json"
    write_atomically(path, "old")
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        write_atomically(path, "newer")
    assert contents(tmp_path) == {"comparison.json": b"new"}
