"""Findings in order: root causes first, what they explain folded under them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from normwise.results.diagnosis import Finding


def ranked(findings: Sequence[Finding], explains: Mapping[str, frozenset[str]]) -> tuple[Finding, ...]:
    """Fold each finding under the surest one that explains it; the others by confidence, then by code.

    Args:
        findings: in any order.
        explains: of each code, the codes of what follows from it.

    >>> found = [Finding("NW509", "plateau", "", "", 0.9), Finding("NW505", "bad-scale", "0", "", 0.8)]
    >>> (root,) = ranked(found, {"NW505": frozenset({"NW509"})})
    >>> root.code, [dependent.code for dependent in root.dependents]
    ('NW505', ['NW509'])
    """
    order = sorted(findings, key=lambda f: (-f.confidence, f.code, f.layer))
    parent: dict[int, int] = {}
    for index in reversed(range(len(order))):  # of two that explain each other the surer one is the root
        for other, candidate in enumerate(order):
            follows = order[index].code in explains.get(candidate.code, frozenset())
            if other != index and follows and not _above(parent, other, index):
                parent[index] = other
                break

    def whole(index: int) -> Finding:
        below = [whole(child) for child in range(len(order)) if parent.get(child) == index]
        return replace(order[index], dependents=tuple(below))

    roots = [whole(index) for index in range(len(order)) if index not in parent]
    return tuple(sorted(roots, key=lambda f: (-f.confidence, f.code, f.layer)))


def _above(parent: Mapping[int, int], start: int, wanted: int) -> bool:
    """Whether `wanted` is an ancestor of `start`, or `start` itself."""
    at: int | None = start
    while at is not None:
        if at == wanted:
            return True
        at = parent.get(at)
    return False
