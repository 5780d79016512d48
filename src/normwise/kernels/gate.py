"""Where a kernel may look at values: plain tensors on the CPU, and no transform of the program."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

_PLAIN = (Tensor, Parameter)


def is_plain_cpu(*tensors: Tensor) -> bool:
    """Whether all tensors are exact tensors or parameters on the CPU and no transform is active.

    A branch on a value breaks compile, export and vmap; fake and meta tensors have no values; some of torch's
    fused operators have no forward-mode derivative.

    >>> is_plain_cpu(torch.ones(2)), is_plain_cpu(torch.ones(2, device="meta"))
    (True, False)
    """
    return (
        not torch.compiler.is_compiling()
        and torch._C._functorch.peek_interpreter_stack() is None
        and torch._C._len_torch_dispatch_stack() == 0
        and forward_ad._current_level < 0
        and all(type(tensor) in _PLAIN and tensor.is_cpu for tensor in tensors)
    )
