"""`normwise build-native`."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer


def build_native(
    force: Annotated[bool, typer.Option("--force", help="Compile even if it is there.")] = False,
) -> None:
    """Compile the native extension against the installed torch: the CPU kernels without the cost of calls in Python."""
    # Its import of torch takes a moment, and help must not.
    from normwise.errors import BuildError
    from normwise.kernels.cpu import build

    if not force and (path := build.native_path()) is not None:
        print("normwise: already built", file=sys.stderr)
    else:
        start = time.monotonic()
        try:
            path = build.build_native(
                force, tell=lambda line: print(f"normwise: {line}", file=sys.stderr, flush=True)
            )
        except BuildError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(1) from None
        print(f"normwise: built in {time.monotonic() - start:.0f} s", file=sys.stderr)
    print(path)
