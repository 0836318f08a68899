"""A resumed run sees the batches the uninterrupted run would have seen; run through Lightning itself."""

from itertools import chain

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from datamodules.loader import ResumableLoader
from datamodules.sampler import EpochSampler

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


class Recorder(pl.LightningModule):
    """Keeps the labels of every training batch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, batch_index):
        self.seen.append(batch[1].tolist())
        return self.weight * batch[1].float().mean()

    def validation_step(self, batch, batch_index):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def run(numbered, tmp_path):
    """Trains for three epochs of five batches, with checkpoints in ``tmp_path/folder``; gives batches and weight."""

    def fit(folder, resume=None, workers=0, checkpoint=None, **options):
        model = Recorder()
        often = checkpoint or {"every_n_train_steps": 1}
        callback = ModelCheckpoint(tmp_path / folder, filename="{step}", save_top_k=-1, **often)
        trainer = pl.Trainer(max_epochs=3, callbacks=[callback], **QUIET, **options)
        data = numbered(batch_size=4, seed=1, num_workers=workers)
        trainer.fit(model, data, ckpt_path=resume and tmp_path / resume, weights_only=True)
        return model.seen, model.weight.item()

    return fit


def test_lightning_sets_the_epoch(run):
    seen, _ = run("whole")
    for epoch in range(3):
        assert list(chain(*seen[5 * epoch : 5 * epoch + 5])) == list(EpochSampler(20, seed=1, epoch=epoch))


# Steps 3 and 8 lie inside an epoch, 5 and 10 end one (there the step's checkpoint is written before validation).
@pytest.mark.parametrize("step", [3, 5, 8, 10])
def test_resumed_inside_an_epoch(run, step):
    seen, weight = run("whole")
    rest, resumed = run("rest", f"whole/step={step}.ckpt")
    assert rest == seen[step:]
    assert resumed == weight


def test_resumed_with_loading_processes(run):
    seen, _ = run("whole")
    assert run("rest", "whole/step=8.ckpt", workers=1)[0] == seen[8:]


@pytest.mark.parametrize("at_train_end", [False, True])
@pytest.mark.parametrize("limit", [1.0, 3])
def test_resumed_at_the_end_of_an_epoch(run, at_train_end, limit):
    """After validation (before the epoch counts as done) and after the training epoch, also if not all was shown."""
    checkpoint = {"every_n_epochs": 1, "save_on_train_epoch_end": at_train_end}
    seen, _ = run("whole", checkpoint=checkpoint, limit_train_batches=limit)
    done = 5 if limit == 1.0 else 3
    resume = f"whole/step={done}.ckpt"
    assert run("rest", resume, checkpoint=checkpoint, limit_train_batches=limit)[0] == seen[done:]


def loader(epoch):
    return ResumableLoader(torch.arange(20), batch_size=4, sampler=EpochSampler(20, epoch=epoch))


def test_state_skips_in_its_own_epoch_only_and_once():
    first = loader(epoch=2)
    batches = iter(first)
    seen = [next(batches).tolist() for _ in range(3)]
    state = first.state_dict()
    assert state == {"epoch": 2, "batches": 3}

    resumed, later = loader(epoch=2), loader(epoch=3)
    for one in (resumed, later):
        one.load_state_dict(state)
        assert one.state_dict() == state
    whole = [batch.tolist() for batch in loader(epoch=2)]
    assert [batch.tolist() for batch in resumed] == whole[3:]
    assert seen == whole[:3]
    assert [batch.tolist() for batch in resumed] == whole
    assert len(list(later)) == 5


def test_overfitting_repeats_the_same_batches(run):
    seen, _ = run("whole", overfit_batches=2)
    assert seen[:2] == seen[2:4] == seen[4:]
