"""Hybrid training from the command line: killed and resumed, tested, refused."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys

import pytest
import torch

from lightning_modules.classifier import Classifier
from tests.conftest import ROOT
from tests.small import SMALL

HYBRID = (
    "recipe=hybrid_digits",
    *[argument for argument in SMALL if "max_epochs" not in argument],
    "method.iterations=1",  # far from converged: what follows depends on when the switch happens
    "trainer.max_epochs=4",
    "schedule.milestones=[1,2]",
)


class KilledError(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def kill_in(monkeypatch):
    """``kill_in(epoch)``: the next run dies in that epoch, after a batch of it."""
    step = Classifier.training_step

    def arm(epoch: int | None) -> None:
        def training_step(self, batch, batch_idx):
            if self.current_epoch == epoch and batch_idx == 1:
                raise KilledError
            return step(self, batch, batch_idx)

        monkeypatch.setattr(Classifier, "training_step", training_step)

    return arm


def switches_of(directory):
    rows = list(csv.DictReader((directory / "metrics.csv").open()))
    return [(float(row["switch/epoch"]), int(row["step"])) for row in rows if row.get("switch/epoch")]


@pytest.mark.slow
@pytest.mark.parametrize("at", [(), ("switch.at=condition", "switch.condition=1e9")])
def test_killed_before_and_after_the_switch_it_ends_with_the_same_weights(cli, tmp_path, summary_of, kill_in, at):
    switched = 2 if at else 3  # the first epoch with the second method, counted from 1
    assert cli(*HYBRID, *at, "hydra.run.dir=whole").code == 0
    whole = torch.load(tmp_path / "whole/checkpoints/last.ckpt", weights_only=True)
    start: tuple[str, ...] = (*HYBRID, *at)
    for epoch in (1, 3):  # in the epoch before the switch (or of it), and after it
        kill_in(epoch)
        with pytest.raises(KilledError):
            cli(*start, "hydra.run.dir=parts")
        assert summary_of(tmp_path / "parts")["switch/epoch"] == (switched if epoch + 1 >= switched else None)
        start = ("ckpt_path=last",)
    kill_in(None)
    outcome = cli("ckpt_path=last", "hydra.run.dir=parts")
    assert outcome.code == 0, outcome.err
    parts = torch.load(tmp_path / "parts/checkpoints/last.ckpt", weights_only=True)
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, parts["state_dict"][name]), name
    assert whole["hyper_parameters"] == parts["hyper_parameters"]
    assert parts["hyper_parameters"]["method"]["name"] == "pade"
    facts = [summary_of(tmp_path / name) for name in ("whole", "parts")]
    for field in ("switch/epoch", "switch/step", "switch/condition", "test/loss", "method"):
        assert facts[0][field] == facts[1][field], field
    assert (facts[0]["switch/epoch"], facts[0]["switch/step"]) == (switched, 2 * (switched - 1))
    expected = [(float(switched), 2 * (switched - 1))]
    assert switches_of(tmp_path / "whole") == switches_of(tmp_path / "parts") == expected
    assert f"pade from epoch {switched}" in outcome.out


def test_a_hybrid_run_is_not_one_of_a_single_method(cli, tmp_path):
    assert cli(*HYBRID, "hydra.run.dir=hybrid").code == 0
    assert cli(*HYBRID, "switch.to=null", "hydra.run.dir=single").code == 0
    weights = [
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("hybrid", "single")
    ]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
def test_each_checkpoint_is_tested_with_its_own_method(cli, tmp_path, summary_of):
    assert cli(*HYBRID, "hydra.run.dir=run").code == 0
    assert cli(*HYBRID, "trainer.max_epochs=2", "hydra.run.dir=early").code == 0
    for name, method in (("run", "pade"), ("early", "isqrt")):
        path = f"ckpt_path={name}/checkpoints/last.ckpt"
        outcome = cli("mode=test", path, f"hydra.run.dir={name}-test")
        assert outcome.code == 0, outcome.err
        assert summary_of(tmp_path / f"{name}-test")["method"] == method
    changed = cli(*HYBRID, "switch.to=taylor", "switch.options.degree=7", "hydra.run.dir=taylor")
    assert changed.code == 0, changed.err
    last = torch.load(tmp_path / "taylor/checkpoints/last.ckpt", weights_only=True)
    assert last["hyper_parameters"]["method"]["degree"] == 7
    assert cli("mode=test", "recipe=hybrid_digits", "ckpt_path=run/checkpoints/last.ckpt").code == 0
    clash = cli("mode=test", "method=newton", "ckpt_path=run/checkpoints/last.ckpt")
    assert "method.name=newton (checkpoint: pade)" in clash.err


def test_going_on_with_the_recipe_named_again(cli, tmp_path, summary_of):
    assert cli(*HYBRID, "trainer.max_epochs=1", "hydra.run.dir=run").code == 0
    outcome = cli(*HYBRID, "ckpt_path=last", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert summary_of(tmp_path / "run")["epochs"] == 4
    clash = cli("recipe=hybrid_digits", "ckpt_path=last", "hydra.run.dir=run")
    assert "schedule.milestones=[6,9] (checkpoint: [1,2])" in clash.err
    clash = cli("ckpt_path=last", "hydra.run.dir=run", "switch.to=lyapunov", "trainer.max_epochs=5")
    assert clash.code == 1
    assert "leave the options of switch out" in clash.err


ERRORS = {
    "unknown method": (["switch.to=pad"], "switch.to: unknown method 'pad' (did you mean 'pade'?)"),
    "features disagree": (["switch.to=average"], "switch.to=average gives"),
    "no milestones": (["switch.to=pade", "schedule.milestones=[]"], "needs a schedule with milestones"),
    "no epoch": (["switch.to=pade", "switch.at=epoch"], "switch.at=epoch needs switch.epoch"),
    "idle epoch": (["switch.to=pade", "switch.epoch=3"], "switch.epoch is used with switch.to=... and switch.at=epoch"),
    "range": (["switch.epoch=0"], "switch.epoch must be at least 1, got 0"),
    "option range": (
        ["switch.to=taylor", "switch.options.degree=0"],
        "switch.options.degree must be at least 1, got 0",
    ),
    "option name": (["switch.to=taylor", "switch.options={dgree: 5}"], "(did you mean 'degree'?)"),
    "unknown recipe": (["recipe=hybrid_digit"], "unknown recipe 'hybrid_digit' (did you mean 'hybrid_digits'?)"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_one_sentence(cli, tmp_path, case):
    arguments, message = ERRORS[case]
    outcome = cli(*SMALL, *arguments)
    assert outcome.code == 1
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.err.count("error: ") == 1
    assert not list(tmp_path.glob("**/last.ckpt"))


@pytest.mark.slow
def test_sigkill_before_and_after_the_switch(cli, tmp_path):
    """The same with real processes; each dies by SIGKILL in the middle of an epoch."""
    assert cli(*HYBRID, "hydra.run.dir=whole").code == 0
    arguments = list(HYBRID)
    for epoch in (1, 3):
        code = (
            "import os, sys, signal, runpy\n"
            f"sys.argv = ['run.py', *{arguments!r}, 'hydra.run.dir=parts']\n"
            "from lightning_modules.classifier import Classifier\n"
            "step = Classifier.training_step\n"
            "def training_step(self, batch, index):\n"
            f"    if (self.current_epoch, index) == ({epoch}, 1):\n"
            "        os.kill(os.getpid(), signal.SIGKILL)\n"
            "    return step(self, batch, index)\n"
            "Classifier.training_step = training_step\n"
            f"runpy.run_path({str(ROOT / 'run.py')!r}, run_name='__main__')\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=False)
        assert done.returncode == -signal.SIGKILL
        arguments = ["ckpt_path=last"]
    assert cli("ckpt_path=last", "hydra.run.dir=parts").code == 0
    whole, parts = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "parts")
    )
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
