"""When does the gradient matter? ``python -m benchmarks.border`` writes benchmarks/border.md.

Gradient errors and small trainings under what the literature blames for instability (close eigenvalues, condition,
rank, scale, precision, batch size, learning rate), with the library's methods and with the historical kernel, whose
mistakes can be switched on one by one. Finished trainings are lines of results/border.jsonl and are not done again.
Minutes.

python -m benchmarks.border --only-page    # the page from the results that are there
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks import lines

HERE = Path(__file__).resolve().parent
KEY = ("kind", "method", "condition", "seed")


def perform(file: Path, seeds: int) -> None:
    """Do the trainings that are missing, one after the other, each on one thread."""
    import torch

    from benchmarks.border_training import CONDITIONS, cases, train

    torch.set_num_threads(1)
    done = {tuple(run[name] for name in KEY) for run in lines.read(file)}
    for case in cases(seeds):
        if case not in done:
            kind, method, condition, seed = case
            result = train(kind, method, CONDITIONS[condition], seed)
            lines.append(file, {**dict(zip(KEY, case, strict=True)), **result})


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, then write the page."""
    parser = argparse.ArgumentParser("benchmarks.border", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only-page", action="store_true", help="measure nothing")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of border.md and results/")
    args = parser.parse_args(arguments)
    (args.out / "results").mkdir(parents=True, exist_ok=True)
    gradients, trainings = (args.out / "results" / f"border.{end}" for end in ("json", "jsonl"))
    if not args.only_page:
        from benchmarks.border_gradients import attribution, measure

        gradients.write_text(json.dumps({"sweeps": measure(), "attribution": attribution()}, indent=1))
        perform(trainings, args.seeds)
    from benchmarks.border_page import write

    print(write(json.loads(gradients.read_text()), lines.read(trainings), args.out))


if __name__ == "__main__":
    main()
