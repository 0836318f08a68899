"""The data benchmark compares like with like and runs to its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from benchmarks import overhead
from benchmarks.data import main
from benchmarks.pipelines import fabricate, pipelines


@pytest.mark.parametrize("name", ["cub448", "fgvc448"])
def test_all_ways_load_the_same_image(tmp_path: Path, name: str) -> None:
    """Up to the mirror image, and to the rounding of PIL's resizing: 0.1 of a standard deviation is 6 grey levels."""
    images = [way(0) for way in pipelines(fabricate(tmp_path, 1), name).values()]
    for image in images[1:]:
        assert image.shape == images[0].shape
        assert min((image - images[0]).abs().mean(), (image.flip(-1) - images[0]).abs().mean()) < 0.1


def test_the_bare_loop_learns_as_the_run_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the same weights a step on the same batch leads to the same weights, and to no others."""

    class Checked(overhead.InTurns):
        def on_train_batch_end(
            self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
        ) -> None:
            if batch_idx == 0:
                before = [weight.clone() for weight in pl_module.parameters()]
                self.loop.batches = iter([batch])
                self.loop.step()
                bare = list(self.loop.network.parameters())
                assert all(torch.equal(*pair) for pair in zip(before, pl_module.parameters(), strict=True))
                torch.testing.assert_close(bare, before, rtol=1e-5, atol=1e-6)  # float32, summed in another order
                compared.append(len(bare))

    compared: list[int] = []
    monkeypatch.setattr(overhead, "InTurns", Checked)
    with pytest.raises(ZeroDivisionError):  # it timed nothing
        overhead.measure(["backbone.width=8", "trainer.accelerator=cpu", "callbacks.progress_bar=false"], 1)
    assert compared


def test_quick_run_writes_its_files(tmp_path: Path) -> None:
    main(["--quick", "--out", str(tmp_path)])
    report = json.loads((tmp_path / "data.json").read_text())
    assert [len(case["images_per_second"]) for case in report["loading"]] == [3, 3, 3]
    assert [case["processes"] for case in report["streaming"]] == [0, 2]
    assert [case["steps"] for case in report["training"]] == [2]
    page = (tmp_path / "data.md").read_text()
    assert "| tiny | 64 | 32 | 2 |" in page
    assert "| loading processes | folder | shards | shards / folder |" in page
