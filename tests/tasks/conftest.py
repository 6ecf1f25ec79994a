"""What the task tests share: a small problem, and how to train on it."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """For such small tensors a second thread gives nothing, and on a busy machine it costs a lot."""
    torch.set_num_threads(1)
