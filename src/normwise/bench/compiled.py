"""torch.compile as a rival: the eager module, compiled anew for each case."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn


def compile_module(module: nn.Module) -> nn.Module:
    """Return the module compiled for fixed shapes; what was compiled before is forgotten, as its guards would cost."""
    torch.compiler.reset()
    return cast(nn.Module, torch.compile(module, dynamic=False))
