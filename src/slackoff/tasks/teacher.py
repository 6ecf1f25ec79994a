"""A teacher: a copy of the network that follows it as a moving average."""

import torch
from torch import nn

BUFFERS = ("copy", "average", "keep")


def copy_student(teacher: nn.Module, student: nn.Module) -> None:
    """Make the teacher equal to the student, parameters and buffers."""
    teacher.load_state_dict(student.state_dict())


@torch.no_grad()
def follow_student(teacher: nn.Module, student: nn.Module, decay: float, buffers: str = "copy") -> None:
    """Move the teacher towards the student: teacher = decay * teacher + (1 - decay) * student.

    Args:
        teacher, student: two networks of the same kind.
        decay: of the moving average over all parameters, in [0, 1]: 0 copies the student, 1 leaves the teacher as it
            is. Parameters that no gradient reaches, such as a memory, count too.
        buffers: what becomes of the teacher's buffers (running statistics of norms): 'copy' takes the student's,
            'average' treats floating-point ones as parameters and copies the rest, 'keep' leaves them as they are, as
            the code of MOSS does, whose teacher then normalises by statistics of before.
    """
    torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 1.0 - decay)
    if buffers == "keep":
        return
    for own, other in zip(teacher.buffers(), student.buffers(), strict=True):
        if buffers == "average" and own.is_floating_point():
            own.lerp_(other, 1.0 - decay)
        else:
            own.copy_(other)
