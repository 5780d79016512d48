"""Files that a command leaves: looked at before the work, and written all together or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from normwise.errors import ArgumentError, NormwiseError, StoreError, explain

WEIGHTS = (".safetensors", ".pt", ".pth")
_FORMS = {
    "--out": ("weights are written as .safetensors, .pt or .pth", WEIGHTS),
    "--onnx": ("an ONNX model is written as .onnx", (".onnx",)),
    "--exported-program": ("a program of torch.export is written as .pt2", (".pt2",)),
}


def check_files(who: str, files: Mapping[str, Path | None], *, dry_run: bool = False) -> None:
    """Raise `ArgumentError`, a ValueError, unless all files can be written, each in the form that its name tells.

    Args:
        who: the command.
        files: by option: --out, --onnx, --exported-program; None for those that are not asked for.
        dry_run: nothing will be written, and the folders are not tried.
    """
    for option, file in files.items():
        if file is None:
            continue
        must, endings = _FORMS[option]
        if file.suffix not in endings:
            raise ArgumentError(explain(who, must, f"{option} {file}", _listed(endings)))
        problem = _problem(file, dry_run)
        if problem is not None:
            must = f"{option} must name a file that can be written"
            raise ArgumentError(explain(who, must, f"{file}: {problem}"))


def write_files(who: str, files: Mapping[Path, Callable[[Path], Any]]) -> None:
    """Write each file beside its place, and give them their names when all of them are whole.

    Args:
        who: the command.
        files: what writes each one, to the path that it is given.

    Raises:
        StoreError: (a RuntimeError) one of them cannot be written; none of them is then there.
        NormwiseError: what a writer itself refuses.
    """
    with contextlib.ExitStack() as stack:
        ready: list[tuple[Path, Path]] = []
        for file, write in files.items():
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                folder = Path(tempfile.mkdtemp(dir=file.parent, prefix=".normwise-"))
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
                write(folder / file.name)
            except NormwiseError:
                raise
            except Exception as error:
                # Each format has errors of its own for a full disk.
                raise _unwritten(who, file, error) from error
            # What lies beside it, such as an ONNX model's large tensors, comes first.
            parts = sorted(folder.iterdir(), key=lambda part: part.name == file.name)
            ready += [(part, file.parent / part.name) for part in parts]
        for part, place in ready:
            try:
                part.chmod(0o644)  # some writers leave files to their owner alone
                os.replace(part, place)
            except OSError as error:
                raise _unwritten(who, place, error) from error


def _unwritten(who: str, file: Path, error: Exception) -> StoreError:
    said = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
    return StoreError(explain(who, "the file must be written", f"{file}: {said}"))


def first_line(error: Exception) -> str:
    """What an error says first, behind its name; what follows is advice for other places.

    >>> first_line(RuntimeError("it cannot be.\\nTry this, or that."))
    'RuntimeError: it cannot be'
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


def _problem(file: Path, dry_run: bool) -> str | None:
    """Why a file cannot be written, found out by writing an empty one of that name beside it; None where it can."""
    try:
        if file.exists() and not file.is_file():
            return "it is a directory" if file.is_dir() else "it is no plain file"
        folder = file.parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            return f"{folder} is no directory"
        if not dry_run:
            with tempfile.TemporaryDirectory(dir=folder, prefix=".normwise-") as trial:
                Path(trial, file.name).touch()
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


def _listed(endings: tuple[str, ...]) -> str:
    return f"name one of {', '.join(endings)}" if len(endings) > 1 else f"let the name end in {endings[0]}"
