import copy

import numpy as np
import pytest
import torch
from torch import nn

from slackoff.tasks.semi_supervised import copy_student, follow_student


def pair() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    student = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1))
    student.register_parameter("memory", nn.Parameter(torch.randn(5, 2), requires_grad=False))
    teacher = copy.deepcopy(student)
    for value in student.state_dict().values():
        value.copy_(torch.randint(1, 9, value.shape) if value.dtype == torch.int64 else torch.randn(value.shape))
    return teacher, student


def state(network: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.double().numpy().copy() for name, value in network.state_dict().items()}


BUFFERS = ("1.running_mean", "1.running_var")


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("buffers", ["copy", "average", "keep"])
def test_a_teacher_is_the_moving_average_of_its_student(decay, buffers):
    teacher, student = pair()
    before, new = state(teacher), state(student)
    follow_student(teacher, student, decay, buffers)
    for name, value in state(teacher).items():
        averaged = decay * before[name] + (1 - decay) * new[name]
        if name.startswith("1.") and name not in ("1.weight", "1.bias"):
            floating = name in BUFFERS
            averaged = {
                "copy": new[name],
                "average": averaged if floating else new[name],
                "keep": before[name],
            }[buffers]
        np.testing.assert_allclose(value, averaged, rtol=0, atol=1e-6, err_msg=name)


def test_decay_0_is_the_student_and_1_the_first_teacher_bit_by_bit():
    teacher, student = pair()
    before = copy.deepcopy(teacher.state_dict())
    follow_student(teacher, student, 1.0, "keep")
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    follow_student(teacher, student, 0.0)
    assert all(torch.equal(value, student.state_dict()[name]) for name, value in teacher.state_dict().items())


def test_the_student_stays_as_it_is_and_is_not_shared():
    teacher, student = pair()
    before = state(student)
    copy_student(teacher, student)
    assert all(torch.equal(value, student.state_dict()[name]) for name, value in teacher.state_dict().items())
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(1.0)
    follow_student(teacher, student, 0.5)
    assert all(np.array_equal(value, before[name]) for name, value in state(student).items())
