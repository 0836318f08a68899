"""Loading images beside the classical pipeline and from shards, and training beside a bare loop of torch.

python -m benchmarks.data            # writes benchmarks/data.md and benchmarks/results/data.json
python -m benchmarks.data --quick    # a few images and steps, to see that it works
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import overhead, pipelines, streaming
from benchmarks.environment import environment
from benchmarks.report import table

HERE = Path(__file__).resolve().parent
TRANSFORMS = ("imagenet224", "cub448", "fgvc448")
RUNS = (
    ("dataset=textures", "data.train_per_class=400", "backbone=resnet18", "trainer.accelerator=cpu"),
    ("dataset=digits", "trainer.accelerator=cpu"),
)
JUDGED = "resnet18"  # the network of the first run; a step of the other is too short to be a measure
SHARE = 0.95  # asked of it: steps per second over the bare loop's


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("benchmarks.data", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100, help="JPEG files of 500 x 375 pixels")
    parser.add_argument("--rounds", type=int, default=3, help="times each of them is loaded")
    parser.add_argument("--steps", type=int, default=60, help="training steps")
    parser.add_argument("--quick", action="store_true", help="a few images and steps")
    parser.add_argument("--out", type=Path, help="folder for JSON and Markdown (default: benchmarks)")
    args = parser.parse_args(arguments)
    if args.quick:
        args.images, args.rounds, args.steps = 2, 1, 2
    args.markdown = (args.out or HERE) / "data.md"
    args.json = (args.out or HERE / "results") / "data.json"
    return args


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write both files."""
    args = parse(arguments)
    command = f"python -m benchmarks.data --images {args.images} --rounds {args.rounds} --steps {args.steps}"
    runs = [("backbone.width=8", *RUNS[1])] if args.quick else RUNS
    with tempfile.TemporaryDirectory() as folder:
        files = pipelines.fabricate(Path(folder), args.images)
        loading = [pipelines.measure(files, name, args.rounds) for name in TRANSFORMS]
        places = streaming.prepare(files, Path(folder))
        streamed = [streaming.measure(*places, processes, args.rounds) for processes in streaming.PROCESSES]
        size = sum(file.stat().st_size for file in files) / len(files)
    training = [overhead.measure(overrides, args.steps) for overrides in runs]
    report = {
        "command": command,
        "environment": environment(),
        "bytes_per_image": size,
        "loading": loading,
        "streaming": streamed,
        "training": training,
    }
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(report, indent=1) + "\n")
    args.markdown.write_text(markdown(report))
    print(args.markdown.read_text())


def markdown(report: dict[str, Any]) -> str:
    """The report as a page."""
    facts = ", ".join(f"{key} {value}" for key, value in report["environment"].items() if value is not None)
    loading, training = report["loading"], report["training"]
    return "\n".join(
        [
            "# Data: loading, and what training costs beyond torch",
            "",
            f"`{report['command']}`; {facts}.",
            "",
            "## Images per second on one core",
            "",
            f"From JPEG file to normalised training image; {loading[0]['images']} files of 500 x 375 pixels and "
            f"{report['bytes_per_image'] / 1024:.0f} KiB, smooth colour with noise. All ways take turns at each image; "
            f"medians over {loading[0]['rounds']} rounds. Classical: PIL and the transforms torchvision had first. "
            "In brackets: times the classical rate.",
            "",
            *table(("transform", *loading[0]["images_per_second"]), [_rates(case) for case in loading]),
            *_streaming(report),
            "## Training steps per second",
            "",
            "`python run.py` with everything it does by default (metrics of each step, logs, checkpoints, progress "
            "bar) beside a bare loop of torch, without any of it, on a copy of the same network and the same images. "
            "Both take turns in one process, step by step. The share is of all steps together; beside it, that of the "
            "median steps.",
            "",
            *table(
                (
                    "network",
                    "px",
                    "batch",
                    "steps",
                    "run.py",
                    "bare loop",
                    "share",
                    "of medians",
                    "more ms per step",
                    "95 % asked",
                ),
                [_training(case) for case in training],
            ),
        ]
    )


def _streaming(report: dict[str, Any]) -> list[str]:
    """The section on shards; a report of before there were any has none."""
    cases = report.get("streaming", [])
    if not cases:
        return []
    rows = []
    for case in cases:
        folder, shards = (case["images_per_second"][way] for way in ("folder", "shards"))
        rows.append((str(case["processes"]), f"{folder:.0f}", f"{shards:.0f}", f"{shards / folder:.2f}"))
    return [
        "## Images per second from shards",
        "",
        f"`dataset=webdataset` beside `dataset=folder`: the same images and transform (`imagenet224`), batches of "
        f"{streaming.BATCH}, all of it in the page cache, where files are at their best. Both take turns epoch by "
        f"epoch; medians over {cases[0]['epochs']} epochs.",
        "",
        *table(("loading processes", "folder", "shards", "shards / folder"), rows),
    ]


def _rates(case: dict[str, Any]) -> tuple[str, ...]:
    rates = case["images_per_second"]
    first = next(iter(rates.values()))
    return (case["transform"], *(f"{rate:.0f} ({rate / first:.2f})" for rate in rates.values()))


def _training(case: dict[str, Any]) -> tuple[str, ...]:
    ours, bare = case["steps_per_second"]["run.py"], case["steps_per_second"]["bare"]
    verdict = ("met" if case["share"] >= SHARE else "**not met**") if case["network"] == JUDGED else ""
    return (
        case["network"],
        *(str(case[key]) for key in ("image_size", "batch", "steps")),
        f"{ours:.2f}",
        f"{bare:.2f}",
        f"{100 * case['share']:.1f} %",
        f"{100 * case['median_share']:.1f} %",
        f"{1e3 * (1 / ours - 1 / bare):.1f}",
        verdict,
    )


if __name__ == "__main__":
    main()
