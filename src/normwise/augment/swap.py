"""Swap noise on tables: entries from other rows."""

from __future__ import annotations

import torch
from torch import Tensor


def swap(rows: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
    """Give each entry, with probability `magnitude`, the value of its column in another row of the batch.

    The columns keep their distributions; a row that is alone stays.

    Source: Bahri et al., "SCARF: self-supervised contrastive learning using random feature corruption", 2022.
    """
    count = len(rows)
    chosen = torch.rand(rows.shape, generator=generator).to(rows.device) < magnitude
    if count < 2:
        return rows.clone()
    ahead = torch.randint(1, count, rows.shape, generator=generator).to(rows.device)
    donors = (torch.arange(count, device=rows.device)[:, None] + ahead) % count
    return torch.where(chosen, rows.gather(0, donors), rows)
