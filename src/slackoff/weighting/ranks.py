"""What several processes that share each batch have to agree about."""

import torch.distributed
from torch import Tensor


def count_ranks() -> int:
    """How many processes train together; 1 without a process group."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    return torch.distributed.get_world_size()


def mean_over_ranks(value: Tensor) -> Tensor:
    """The mean of all ranks' tensors, the same on each of them: for mean losses of equal shares, that of the batch."""
    if count_ranks() == 1:
        return value
    total = value.clone()
    torch.distributed.all_reduce(total)
    return total / count_ranks()


def of_all_ranks(value: Tensor) -> Tensor:
    """All ranks' tensors (n, ...), of one shape, joined in the order of the batch, whose images they took in turns."""
    if count_ranks() == 1:
        return value
    shares = [torch.empty_like(value) for _ in range(count_ranks())]
    torch.distributed.all_gather(shares, value.contiguous())
    return torch.stack(shares, dim=1).flatten(0, 1)


def from_first_rank(value: Tensor) -> Tensor:
    """The first rank's tensor."""
    if count_ranks() > 1:
        value = value.contiguous()
        torch.distributed.broadcast(value, 0)
    return value
