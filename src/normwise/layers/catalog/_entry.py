"""What the catalog says of a layer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A layer, or a function that gives one, in words.

    Attributes:
        name: as exported by `normwise.layers`; of a family in several ranks with a hash, ``"BatchNorm#d"``.
        formula: with eps where it sits, on one line.
        paper: author and year, as "Ioffe & Szegedy 2015".
        when: when to use it, one sentence.
        evidence: what published or measured evidence says for and against it, with its source; one or two sentences.
        inputs: shapes that it takes.
        ranks: the numbers that the hash stands for; () where the name has none.
        fused: residual, activation and dropout can go into the same pass; the name of the fused form.
        kernel: normwise's own kernels run it on the CPU.
    """

    name: str
    formula: str
    paper: str
    when: str
    evidence: str
    inputs: str
    ranks: tuple[int, ...] = ()
    fused: str = ""
    kernel: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The exported names.

        >>> Entry("Dropout#d", "", "", "", "", "", ranks=(1, 2)).names
        ('Dropout1d', 'Dropout2d')
        """
        if not self.ranks:
            return (self.name,)
        return tuple(self.name.replace("#", str(rank)) for rank in self.ranks)
