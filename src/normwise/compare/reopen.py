"""The answer of a run that was killed before it could give one."""

from __future__ import annotations

import shlex
from pathlib import Path

from normwise.compare.budget import Fitted
from normwise.compare.check import prepare
from normwise.compare.spec import Spec
from normwise.compare.store import Store, read_header
from normwise.compare.summary import summarize
from normwise.errors import StoreError, explain
from normwise.results import Comparison


def reopen(directory: Path) -> Comparison:
    """Summarise what the store of a run holds; nothing is trained.

    Raises:
        StoreError: it is no run, is being written, belongs to other data, or holds too little to say anything.
        DataError: its data cannot be read any more.
    """
    header = read_header(directory)
    prepared = prepare(Spec.model_validate(header["spec"]), resolved=Spec.model_validate(header["resolved"]))
    identity = prepared.asked.identity(prepared.data.fingerprint)
    fitted = Fitted(prepared, 0.0, tuple(header["shed"]), header["budget"])
    command = f"normwise compare --spec {shlex.quote(str(directory / 'run.json'))} --out {shlex.quote(str(directory))}"
    kept = {name: header[name] for name in ("spec", "resolved", "budget", "shed", "data", "versions")}
    with Store(directory, identity=identity, header=kept) as store:
        comparison = summarize(fitted, store, directory, seconds=0.0, command=command)
    if not comparison.settings:
        raise StoreError(
            explain(
                "report",
                "a run must have finished a seed of its scan to be reported",
                f"{comparison.finished:,} trials in {directory}",
                "run the compare command of that run again; it goes on where it stopped",
            )
        )
    return comparison
