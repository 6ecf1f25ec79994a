"""What the tests of published weights share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """For such small tensors a second thread gives nothing, and on a busy machine it costs a lot."""
    torch.set_num_threads(1)
