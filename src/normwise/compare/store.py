"""The run directory: what was asked, and every result as soon as it exists.

::

    run.json       the question, the identity of its data, the versions: written once, whole
    records.jsonl  one line per finished task, appended and flushed to disk as it ends
    .lock          held while a process writes here
    report.html, comparison.json, …   derived; may be deleted

Killed at any moment, at most the last line is incomplete; it is cut off when the directory is opened again.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import filelock

from normwise.errors import StoreError, explain
from normwise.results import SCHEMA_VERSION, dumps, loads

FORMAT = "normwise-run"
Record = TypeVar("Record")


class Store:
    """An open run directory, locked for this process.

    Args:
        directory: created if it does not exist; otherwise it must be a run of the same identity.
        identity: hash of the question without its number of seeds.
        header: what `run.json` shows about the run; `spec` and `versions` among it.

    Raises:
        StoreError: the directory is not a run, belongs to another question, version or torch, or is in use.
    """

    def __init__(self, directory: Path, *, identity: str, header: Mapping[str, Any]) -> None:
        self.directory = directory
        _check(directory, identity, header)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = filelock.FileLock(directory / ".lock")
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise StoreError(
                explain(
                    "compare",
                    "one process at a time may write a run directory",
                    f"{directory}, which another process is writing",
                    "wait for it, or give --out another directory",
                )
            ) from None
        except OSError as error:
            raise StoreError(
                explain(
                    "compare",
                    "the run directory must be writable",
                    f"{error.strerror} for {directory}",
                    "give --out another directory",
                )
            ) from None
        try:
            # Once more, now that nobody else writes: another process may have begun a run here meanwhile.
            fresh = _check(directory, identity, header)
            body = {"format": FORMAT, "schema": SCHEMA_VERSION, "identity": identity, **header}
            write_atomically(directory / "run.json", json.dumps(body, indent=1) + "\n")
            self._lines: dict[str, dict[str, Any]] = {} if fresh else _read_lines(directory / "records.jsonl")
            # Unbuffered: what could not be written must not be tried again when the file is closed.
            self._file = (directory / "records.jsonl").open("ab", buffering=0)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._lock.release()

    def __len__(self) -> int:
        """Records of all kinds."""
        return len(self._lines)

    def append(self, kind: str, key: str, record: object) -> None:
        """Add one record; it is on disk when this returns.

        Raises:
            StoreError: the disk is full or the directory not writable; what was recorded before stays readable.
        """
        line = f'{{"kind":{json.dumps(kind)},"key":{json.dumps(key)},"record":{dumps(record)}}}\n'.encode()
        end = os.fstat(self._file.fileno()).st_size
        try:
            rest = memoryview(line)
            while len(rest):  # a disk that fills up takes a part first
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            _truncate(self._file, end)
            raise StoreError(
                explain(
                    "compare",
                    "results must be written as they come",
                    f"{error.strerror} for {self.directory}",
                    "make room and run the same command again; it goes on where it stopped",
                )
            ) from None
        self._lines[key] = {"kind": kind, "key": key, "record": json.loads(dumps(record))}

    def records(self, kind: str, record_type: type[Record]) -> dict[str, Record]:
        """All records of a kind, by key."""
        return {
            key: loads(json.dumps(line["record"]), record_type)
            for key, line in self._lines.items()
            if line["kind"] == kind
        }


def read_header(directory: Path) -> dict[str, Any]:
    """`run.json` of a run directory.

    Raises:
        StoreError: there is none, or it is of another version.
    """
    path = directory / "run.json"
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(
            explain("compare", "a run directory must hold a run.json", f"{directory}, which is not ours")
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise StoreError(
            explain(
                "compare",
                "run.json must be one of normwise",
                f"another file at {path}",
                "give --out another directory",
            )
        )
    if header.get("schema") != SCHEMA_VERSION:
        raise StoreError(
            explain(
                "compare",
                f"the store must be of version {SCHEMA_VERSION}",
                f"version {header.get('schema')} in {directory}",
                "give --out a new directory, or install the normwise that wrote this one",
            )
        )
    return header


def _check(directory: Path, identity: str, header: Mapping[str, Any]) -> bool:
    """Whether the directory is new; raises where it cannot be used."""
    if directory.exists() and not directory.is_dir():
        raise StoreError(
            explain("compare", "`--out` must be a directory", f"the file {directory}", "give another name")
        )
    if not directory.exists() or all(_is_left_over(path) for path in directory.iterdir()):
        return True
    if not (directory / "run.json").exists():
        raise StoreError(
            explain(
                "compare",
                "`--out` must be new, empty, or a run of normwise",
                f"{directory}, a directory with other files",
                "give another name",
            )
        )
    old = read_header(directory)
    if old.get("identity") != identity:
        changed = _differences(old.get("spec", {}), header.get("spec", {})) or "the contents of the data"
        raise StoreError(
            explain(
                "compare",
                "a run directory holds one question",
                f"another one in {directory} (differs in {changed})",
                "give --out another directory",
            )
        )
    for name in ("torch", "kernels"):
        was, now = old.get("versions", {}).get(name), header.get("versions", {}).get(name)
        if was != now:
            raise StoreError(
                explain(
                    "compare",
                    f"all trials of a run must come from one {name if name == 'torch' else 'set of kernels'}",
                    f"{name} {now} for a run begun with {was}",
                    "give --out another directory",
                )
            )
    return False


def _is_left_over(path: Path) -> bool:
    """Whether a run that was killed before its run.json was whole leaves such a file."""
    return path.name == ".lock" or path.name.startswith(".run.json.")


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    names = [name for name in new if name != "seeds" and old.get(name) != new[name]]
    return ", ".join(names)


def _read_lines(path: Path) -> dict[str, dict[str, Any]]:
    """Every whole line; a last one without its end is cut off the file."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
    lines: dict[str, dict[str, Any]] = {}
    for number, text in enumerate(content[:whole].splitlines(), start=1):
        try:
            line = json.loads(text)
            lines[line["key"]] = {"kind": line["kind"], "key": line["key"], "record": line["record"]}
        except (ValueError, KeyError, TypeError):
            raise StoreError(
                explain(
                    "compare",
                    "every line of records.jsonl must be a record",
                    f"line {number} of {path}",
                    "delete that line; its trial runs again",
                )
            ) from None
    return lines


def _truncate(file: FileIO, end: int) -> None:
    """Take back a line that was not written whole."""
    try:
        file.truncate(end)
    except OSError:
        return  # opening the directory again cuts the same line off


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by a whole new one, or leave it as it was.

    Raises:
        StoreError: the file cannot be written.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise StoreError(
            explain("compare", "the run directory must be writable", f"{error.strerror} for {path}")
        ) from None
