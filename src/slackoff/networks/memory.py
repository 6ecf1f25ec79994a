"""The memory of MOSS: a table of items that is moved by the encodings it sees and read softly, without gradient to it.

Eq. 3 (update) and Eq. 5 (reading) of Huang, Yu, He, "Memory Oriented Transfer Learning for Semi-Supervised Image
Deraining" (CVPR 2021), as the authors' code has them.
"""

from typing import Literal, NamedTuple

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.networks.precision import full_precision

Unassigned = Literal["shrink", "freeze"]
POLICIES = ("shrink", "freeze")
NO_DIVISION_BY_ZERO = 1e-6  # added to the counts, as in the authors' code


class Assigned(NamedTuple):
    """What was assigned to each of the items.

    Attributes:
        sums: (items, channels), of the encodings.
        counts: (items,), how many encodings; of the dtype of the sums.
    """

    sums: Tensor
    counts: Tensor


def cosine_scores(encodings: Tensor, table: Tensor) -> Tensor:
    """Cosine of the angle between every encoding (n, channels) and every item (items, channels): (n, items)."""
    return F.normalize(encodings, dim=1) @ F.normalize(table, dim=1).T


def assign(encodings: Tensor, table: Tensor) -> Assigned:
    """Give each encoding (n, channels) to the item (items, channels) of the highest cosine.

    The sums are a matrix product: adding up by index would take another order on each run of a GPU.
    """
    best = cosine_scores(encodings, table).argmax(dim=1, keepdim=True)
    chosen = (best == torch.arange(len(table), device=table.device)).to(encodings.dtype)
    return Assigned(chosen.T @ encodings, chosen.sum(dim=0))


def updated(table: Tensor, assigned: Assigned, decay: float, unassigned: Unassigned = "shrink") -> Tensor:
    """The table after one update, a new tensor: decay * item + (1 - decay) * mean of what was assigned to it (Eq. 3).

    Args:
        table: (items, channels).
        assigned: what was assigned to each item.
        decay: tau, from 0 (items become the means) to 1 (items stay).
        unassigned: "shrink" multiplies an item without an encoding by ``decay``, as if its mean were 0 (so does the
            authors' code); "freeze" keeps it.
    """
    counts = assigned.counts[:, None]
    moved = decay * table + (1 - decay) * assigned.sums / (counts + NO_DIVISION_BY_ZERO)
    return torch.where(counts > 0, moved, table) if unassigned == "freeze" else moved


def read(encodings: Tensor, table: Tensor, temperature: float = 1.0) -> Tensor:
    """The mean of all items, weighted by softmax(cosine / temperature) for each encoding (Eq. 5): (n, channels).

    At a temperature of 1 no weight is more than e^2 times another. Gradients reach the encodings through the weights
    alone.
    """
    return F.softmax(cosine_scores(encodings, table) / temperature, dim=1) @ table


class Memory(nn.Module):
    """A table of items, drawn from N(0, 1), which replaces every encoding by a weighted mean of its items.

    In training the table is first updated by the batch, stored, and then read; in evaluation it is only read. No
    gradient reaches it. Both run in float32 (float64 for encodings in it), also under autocast. Several ranks that
    train together add up what was assigned, so that all store the table of one process on the joined batch.

    Args:
        items: rows of the table.
        channels: of an encoding.
        decay: tau of the update, 0 to 1.
        temperature: of the softmax of the reading.
        unassigned: what an update does to items without an encoding, see ``updated``.
        update_in_eval: in evaluation read a table that the images at hand have updated, and store nothing, as the
            authors' code does. The result of an image then depends on those beside it.

    Raises:
        SlackoffError: an option is out of its range.
    """

    def __init__(
        self,
        items: int,
        channels: int,
        decay: float = 0.999,
        temperature: float = 1.0,
        unassigned: Unassigned = "shrink",
        update_in_eval: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= decay <= 1:
            raise SlackoffError(f"network.memory_decay={decay} must lie in [0, 1]")
        if not temperature > 0:
            raise SlackoffError(f"network.memory_temperature={temperature} must be above 0")
        if unassigned not in POLICIES:
            raise SlackoffError(
                f"network.memory_unassigned={unassigned} is not known: choose one of {', '.join(POLICIES)}"
            )
        self.decay, self.temperature, self.unassigned = decay, temperature, unassigned
        self.update_in_eval = update_in_eval
        self.table = nn.Parameter(torch.randn(items, channels), requires_grad=False)

    def forward(self, z: Tensor) -> Tensor:
        """Encodings (N, channels, h, w) to what the memory says of each: the same shape and dtype."""
        with full_precision(z):
            precise = z.to(torch.promote_types(z.dtype, torch.float32))
            encodings = precise.permute(0, 2, 3, 1).flatten(0, 2)
            # A copy: the stored table may change before the backward pass of this reading.
            table = self.table.detach().to(precise.dtype, copy=True)
            if self.training or self.update_in_eval:
                table = self._update(table, encodings.detach())
            result = read(encodings, table, self.temperature)
        return result.unflatten(0, (len(z), *z.shape[-2:])).permute(0, 3, 1, 2).to(z.dtype)

    @torch.no_grad()
    def _update(self, table: Tensor, encodings: Tensor) -> Tensor:
        assigned = assign(encodings, table)
        if self.training:
            _add_up_over_ranks(assigned)
        table = updated(table, assigned, self.decay, self.unassigned)
        if self.training:
            self.table.copy_(table)
        return table


def _add_up_over_ranks(assigned: Assigned) -> None:
    """All ranks give every training batch to the memory; evaluation is the first one's alone and adds up nothing."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    if torch.distributed.get_world_size() > 1:
        torch.distributed.all_reduce(assigned.sums)
        torch.distributed.all_reduce(assigned.counts)
