"""Two processes on the CPU: the same metrics as one, one directory, one sentence when something is wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import pytorch_lightning as pl
import torch

from datamodules.datasets import create_datamodule
from lightning_modules import metric_names as names
from lightning_modules.classifier import Classifier
from tests.conftest import ROOT
from tests.small import SMALL
from tests.test_killed import killed

# 359 images in the test part and 360 in the validation part, of which 359 are left: no even shares, no even batches.
DDP = (*(argument for argument in SMALL if "limit" not in argument), "trainer.limit_train_batches=2", "trainer=ddp_cpu")
ONE = ("mode=test", "trainer=default", "trainer.accelerator=cpu")


@pytest.mark.slow
def test_metrics_are_those_of_one_process(cli, tmp_path, summary_of):
    outcome = cli(*DDP, "data.eval_batch_size=10", "hydra.run.dir=two")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("test accuracy ") == 1  # one table
    assert not {"RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} & set(os.environ)
    assert not torch.distributed.is_initialized()
    assert [path.name for path in tmp_path.iterdir()] == ["two"]
    two = summary_of(tmp_path / "two")
    assert cli(*ONE, "ckpt_path=two/checkpoints/best.ckpt", "hydra.run.dir=one").code == 0
    one = summary_of(tmp_path / "one")
    for name in ("test/acc1", "test/acc5"):
        assert two[name] == one[name]
    assert two["test/loss"] == pytest.approx(one["test/loss"], rel=1e-6)  # float32 sums in another order
    data = create_datamodule("digits", image_size=16, eval_batch_size=10)
    data.setup()
    assert len(data.splits.test) % 2 == 1
    module = Classifier.load_from_checkpoint(tmp_path / "two/checkpoints/last.ckpt", weights_only=True)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    (metrics,) = trainer.validate(module, data, verbose=False)
    assert metrics["val/acc1"] == two["val/acc1"]


@pytest.mark.slow
def test_weights_of_classes_and_metrics_of_each(cli, tmp_path, summary_of):
    """Weights are those of all training images, not of a process's share; dropcov's attention is trained."""
    options = ("method=dropcov", "training.class_weights=balanced", "training.balanced_metrics=true")
    outcome = cli(*DDP, *options, "hydra.run.dir=two")
    assert outcome.code == 0, outcome.err
    two = summary_of(tmp_path / "two")
    data = create_datamodule("digits", image_size=16)
    data.setup()
    counts = torch.bincount(data.splits.train.tensors[1])
    assert two["class_weights"] == pytest.approx((counts.sum() / (10 * counts)).tolist())
    trained = Classifier.load_from_checkpoint(tmp_path / "two/checkpoints/last.ckpt", weights_only=True)
    assert trained.training_loss.weights.tolist() == pytest.approx(two["class_weights"])
    attention = [name for name in trained.state_dict() if name.endswith("attention.weight")]
    pl.seed_everything(0, verbose=False)
    begun = Classifier(**trained.hparams).state_dict()
    assert not torch.equal(trained.state_dict()[attention[0]], begun[attention[0]])
    assert cli(*ONE, "ckpt_path=two/checkpoints/best.ckpt", "hydra.run.dir=one").code == 0
    one = summary_of(tmp_path / "one")
    for name in (names.BALANCED_ACCURACY, names.MACRO_F1):
        assert two[names.of("test", name)] == pytest.approx(one[names.of("test", name)], rel=1e-6)
    assert two[names.of("test", names.CLASS_ACCURACY)] == one[names.of("test", names.CLASS_ACCURACY)]


def test_trainer_options_that_cannot_be(cli):
    for arguments, message in (
        (("trainer.strategy=ddpp",), "invalid strategy name"),
        (("trainer=ddp_cpu", "trainer.accelerator=gpu", "trainer.devices=99"), "the trainer refuses its options"),
        (("trainer=dpp_cpu",), "unknown trainer 'dpp_cpu' (did you mean 'ddp_cpu'?)"),
        (("launcher=jobli",), "unknown launcher 'jobli' (did you mean 'joblib'?)"),
    ):
        outcome = cli(*SMALL, *arguments)
        assert outcome.code == 1
        assert message in outcome.err
        assert "Traceback" not in outcome.err


@pytest.mark.slow
def test_digits_are_learnt_by_two_processes(cli, tmp_path, summary_of):
    outcome = cli("trainer=ddp_cpu", "callbacks.progress_bar=false", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert summary_of(tmp_path / "run")["test/acc1"] >= 0.98


@pytest.mark.slow
def test_a_sweep_gives_each_job_its_directory(cli, tmp_path, summary_of):
    outcome = cli("-m", "seed=0,1", *DDP, "hydra.sweep.dir=sweep")
    assert outcome.code == 0, outcome.err
    directories = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert [path.name for path in directories] == ["0-pade-tiny-digits-s0", "1-pade-tiny-digits-s1"]
    assert [summary_of(path)["status"] for path in directories] == ["ok", "ok"]
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run_with_a_sentence(tmp_path, summary_of):
    arguments = (*DDP, "plugins=[tests.fragile]", "dataset=fragile", "hydra.run.dir=run")
    process = killed(tmp_path, *arguments, at=20, KILL_RANK="1")
    assert process.returncode == 1
    assert "error: process 1 of the run ended with code -9" in process.stderr
    assert "Traceback" not in process.stderr
    assert summary_of(tmp_path / "run")["status"] == "failed"


@pytest.mark.slow
def test_a_port_in_use(tmp_path, summary_of):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = killed(tmp_path, *DDP, "hydra.run.dir=run", at=0, MASTER_PORT=str(taken.getsockname()[1]))
    assert process.returncode == 1
    assert "error: the processes cannot meet at 127.0.0.1" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_all_processes_stop_after_the_same_batch(cli, tmp_path, summary_of, sent, code):
    endless = [argument for argument in DDP if "max_epochs" not in argument] + ["trainer.max_epochs=100000"]
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, str(ROOT / "run.py"), *endless, "hydra.run.dir=run"]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        while not (tmp_path / "run/checkpoints/last.ckpt").exists():
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        process.send_signal(sent)
        assert process.wait(timeout=120) == code, (tmp_path / "log").read_text()
    text = (tmp_path / "log").read_text()
    assert "go on with: python run.py ckpt_path=last" in text
    assert "Traceback" not in text
    epochs = summary_of(tmp_path / "run")["epochs"] + 2
    outcome = cli("ckpt_path=last", "hydra.run.dir=run", f"trainer.max_epochs={epochs}")
    assert outcome.code == 0, outcome.err
    assert summary_of(tmp_path / "run")["epochs"] == epochs


@pytest.mark.slow
def test_torchrun_gives_one_directory(tmp_path, summary_of):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*torchrun, str(ROOT / "run.py"), *DDP], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (directory,) = tmp_path.glob("outputs/*/*")
    assert summary_of(directory)["status"] == "ok"
    assert done.stdout.count("test accuracy ") == 1
