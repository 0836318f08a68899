"""Fine-tuning on real images: ``python -m benchmarks.finetuning`` writes benchmarks/finetuning.md.

EfficientNet-Lite0 of ImageNet on solar cells, the recipes solar_lite0_* with fewer epochs: average pooling, iSQRT-COV,
five SVD methods, bilinear pooling and the hybrid protocol. First a grid of learning rates for each method, judged on
the validation part alone; then the seeds of the study with the chosen rates, each run tested once. Every finished run
is a line of results/finetuning.jsonl and is not done again; one that was killed is done from its beginning.

python -m benchmarks.finetuning --only-page     # the page from the runs that are there
python -m benchmarks.finetuning --seeds 10      # more seeds
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks import lines
from benchmarks.finetuning_runs import SEEDS, Case, Done, grid, read, run, study

HERE = Path(__file__).resolve().parent


def pending(done: Done, seeds: int) -> list[Case]:
    """What is to be done next: the search for rates, and after it the study, whose rates are known then."""
    missing = [case for case in grid(done) if case not in done]
    return missing or [case for case in study(done, seeds) if case not in done]


def perform(file: Path, seeds: int, features: Path) -> None:
    """Do what is missing, one run after the other, and write each down as soon as it is finished."""
    import torch

    torch.set_num_threads(1)
    while cases := pending(read(file), seeds):
        for case in cases:
            print(f"-- {case}", file=sys.stderr)
            lines.append(file, {"case": asdict(case), **run(case, features)})


def main(arguments: list[str] | None = None) -> None:
    """Run what is missing, then write the page."""
    parser = argparse.ArgumentParser("benchmarks.finetuning", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--only-page", action="store_true", help="run nothing")
    parser.add_argument("--features", type=Path, default=Path("outputs/features"), help="where features are kept")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of finetuning.md and results/")
    args = parser.parse_args(arguments)
    (args.out / "results").mkdir(parents=True, exist_ok=True)
    file = args.out / "results" / "finetuning.jsonl"
    if not args.only_page:
        perform(file, args.seeds, args.features)
    from benchmarks.finetuning_page import write

    print(write(read(file), args.out))


if __name__ == "__main__":
    main()
