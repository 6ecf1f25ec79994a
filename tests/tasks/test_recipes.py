"""The recipes of DDN and DRD-Net: what their task files make of a run."""

import pytest
import torch

from slackoff.config import build


def recipe(composed, preset: str, task: str, steps: int):
    config = composed(f"network={preset}", f"task={task}", f"schedule.steps={steps}")
    found = build.build_task(config, build.build_network(config))
    parts = found.configure_optimizers()
    optimizer, schedule = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found, optimizer, rates


def test_ddn_trains_by_sgd_whose_rate_falls_twice(composed):
    task, optimizer, rates = recipe(composed, "ddn_small", "ddn", 210)
    assert type(optimizer) is torch.optim.SGD
    assert optimizer.param_groups[0]["momentum"] == 0.9
    assert rates == pytest.approx([0.1] * 100 + [0.01] * 100 + [0.001] * 10)
    output, background = torch.rand(2, 1, 3, 8, 8)
    assert task.loss(torch.nn.Identity(), output, background).item() == pytest.approx(
        (output - background).square().mean().item()
    )


def test_drd_net_trains_by_adam_at_the_authors_rates(composed):
    task, optimizer, rates = recipe(composed, "drd_net_small", "drd_net", 120)
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    by_epoch = {6: 0.01, 15: 0.005, 30: 0.0025, 45: 0.00125, 60: 0.001, 75: 0.0005, 90: 0.000125, 120: 0.00001}
    assert rates == pytest.approx([next(rate for end, rate in by_epoch.items() if epoch < end) for epoch in range(120)])
    assert task.loss.weights == (0.1, 1.0)
