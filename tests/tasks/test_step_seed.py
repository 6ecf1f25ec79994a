from types import SimpleNamespace

import torch

from slackoff.data.streams import derive_seed
from slackoff.tasks import StepSeed


def test_on_a_cpu_the_draws_are_those_of_torch_without_a_note_for_gpus(monkeypatch):
    torch.manual_seed(derive_seed(3, "step", 5, 1))
    expected = torch.rand(4)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: 1 / 0)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    StepSeed(3).on_train_batch_start(SimpleNamespace(global_step=5, global_rank=1, strategy=strategy))
    assert torch.equal(torch.rand(4), expected)
