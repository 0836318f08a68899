"""Schedules against closed formulas and torch's own schedulers."""

from __future__ import annotations

import math

import pytest
import torch
from torch.optim import lr_scheduler

from gcp.errors import OptionError
from lightning_modules.optimisation import schedules
from lightning_modules.settings.optimisation import SCHEDULES, CosineOptions, LogOptions, ScheduleOptions, StepOptions

LR = 0.2


def rates(name: str, options, epochs: int | None, steps: int = 3) -> list[float]:
    """The learning rate of each tick of a training."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    built = schedules.schedule(optimizer, getattr(schedules, name), options, epochs, lambda: steps)
    assert built["interval"] == ("step" if options.warmup_steps else "epoch")
    found = []
    for _ in range((epochs or 4) * (steps if options.warmup_steps else 1)):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        built["scheduler"].step()
    return found


def torchs(make, epochs: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler = make(optimizer)
    found = []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_step_is_torchs():
    expected = torchs(lambda o: lr_scheduler.MultiStepLR(o, [2, 5], 0.5), 8)
    assert rates("step", StepOptions(milestones=[2, 5], gamma=0.5), 8) == pytest.approx(expected)


def test_cosine_is_torchs():
    expected = torchs(lambda o: lr_scheduler.CosineAnnealingLR(o, 8, eta_min=0.02), 8)
    assert rates("cosine", CosineOptions(final_factor=0.1), 8) == pytest.approx(expected)


def test_log_is_a_straight_line_of_exponents():
    expected = torch.logspace(-1, -4, 7, dtype=torch.float64).tolist()
    assert rates("log", LogOptions(p0=-1.0, p1=-4.0), 7) == pytest.approx(expected)
    first, *_, last = rates("log", LogOptions(p1=-3.0), 7)
    assert (first, last) == pytest.approx((LR, 1e-3))  # without p0 it begins at optimizer.lr
    assert rates("log", LogOptions(p0=-1.0), 1) == pytest.approx([0.1])


def test_constant():
    assert rates("constant", ScheduleOptions(), None) == [LR] * 4


def test_warmup_in_epochs_is_torchs_and_the_schedule_follows_it():
    ramp = torchs(lambda o: lr_scheduler.LinearLR(o, start_factor=0.01, total_iters=3), 3)
    rest = torchs(lambda o: lr_scheduler.CosineAnnealingLR(o, 5), 5)
    assert rates("cosine", CosineOptions(warmup_epochs=3), 8) == pytest.approx(ramp + rest)
    logarithmic = rates("log", LogOptions(p0=-1.0, p1=-4.0, warmup_epochs=2), 6)
    assert logarithmic[2:] == pytest.approx(torch.logspace(-1, -4, 4, dtype=torch.float64).tolist())
    stepped = rates("step", StepOptions(milestones=[4], warmup_epochs=2, warmup_factor=0.5), 6)
    assert stepped == pytest.approx([0.1, 0.15, 0.2, 0.2, 0.02, 0.02])  # milestones stay where they are


def test_warmup_in_steps_rises_within_epochs():
    found = rates("cosine", CosineOptions(warmup_steps=4, warmup_factor=0.2), epochs=4, steps=3)
    assert found[:4] == pytest.approx([LR * factor for factor in (0.2, 0.4, 0.6, 0.8)])
    for epoch in (2, 3):  # afterwards the rate stays for an epoch; the cosine begins when the warm-up ends
        expected = LR * (1 + math.cos(math.pi * (epoch - 4 / 3) / (4 - 4 / 3))) / 2
        assert found[3 * epoch : 3 * epoch + 3] == pytest.approx([expected] * 3)


@pytest.mark.parametrize("name", SCHEDULES.names())
def test_the_state_is_exact(name):
    """The rates after restoring are those without stopping."""
    options = SCHEDULES.get(name).options(warmup_epochs=2)
    whole = rates(name, options, 6)

    def build():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
        return optimizer, schedules.schedule(optimizer, getattr(schedules, name), options, 6, lambda: 1)["scheduler"]

    optimizer, scheduler = build()
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    again, resumed = build()
    again.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    found = []
    for _ in range(3):
        found.append(again.param_groups[0]["lr"])
        again.step()
        resumed.step()
    assert found == whole[3:]


def test_what_cannot_be_is_refused():
    with pytest.raises(OptionError, match="warmup_epochs=4 leaves nothing of a training of 4 epochs"):
        rates("constant", ScheduleOptions(warmup_epochs=4), 4)
    with pytest.raises(OptionError, match="warmup_steps=12 leaves nothing of a training of 12 steps"):
        rates("constant", ScheduleOptions(warmup_steps=12), 4)
    with pytest.raises(OptionError, match=r"needs the number of epochs; set trainer\.max_epochs"):
        rates("cosine", CosineOptions(), None)
    with pytest.raises(OptionError, match="exclude each other"):
        ScheduleOptions(warmup_epochs=1, warmup_steps=1)
