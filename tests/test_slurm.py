"""A real Slurm on this machine with real jobs: sweeps, several tasks, preemption. Skipped where there is none."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from benchmarks.slurm_cluster import NoClusterError, cluster
from benchmarks.slurm_runs import (
    BUSY,
    LONG,
    LONGER,
    RUN,
    SHORT,
    TINY,
    TWO,
    Site,
    announce,
    interrupt,
    nothing,
    preempt,
    requeue,
    same_training,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]
SWEEP = ("-m", "sweep=methods", "method=pade,newton,taylor", *SHORT)
NAMES = [f"{number}-{name}-tiny-digits-s0" for number, name in enumerate(("pade", "newton", "taylor"))]
SLURM = ("launcher=slurm", "hydra.launcher.partition=main", "hydra.launcher.timeout_min=20")


@pytest.fixture(scope="module")
def environment():
    with tempfile.TemporaryDirectory() as folder:
        try:
            with cluster(Path(folder)) as environment:
                yield environment
        except NoClusterError as error:
            pytest.skip(str(error))


@pytest.fixture
def site(environment, tmp_path):
    return Site(tmp_path, environment)


@pytest.fixture(scope="module")
def undisturbed(environment, tmp_path_factory):
    """The directory of a run outside of Slurm's jobs."""
    site = Site(tmp_path_factory.mktemp("undisturbed"), environment)
    site.train(*LONG, "hydra.run.dir=whole")
    return site.folder / "whole"


@pytest.fixture(scope="module")
def longer(environment, tmp_path_factory):
    """The same of a run of half a minute."""
    site = Site(tmp_path_factory.mktemp("longer"), environment)
    site.train(*LONGER, "hydra.run.dir=whole")
    return site.folder / "whole"


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The sentence of a command that was refused."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_a_sweep_is_an_array_of_jobs_with_the_results_of_one_process(site):
    site.train(*SWEEP, "hydra.sweep.dir=here")
    options = ("hydra.launcher.cpus_per_task=1", "hydra.launcher.array_parallelism=2")
    done = site.train(*SWEEP, *SLURM, *options, "hydra.sweep.dir=there")
    for name in NAMES:
        assert site.summary(f"there/{name}")["status"] == "ok"
        assert same_training(site, f"here/{name}", f"there/{name}")
        for metric in ("test/acc1", "test/loss"):
            assert site.summary(f"here/{name}")[metric] == site.summary(f"there/{name}")[metric]
    assert (site.folder / "there/sweep.md").exists()
    (array,) = re.findall(r"queued: 3 jobs, the first is (\d+)_0", done.stdout)
    seen = site.show(f"{array}_0")
    assert (seen["ArrayTaskThrottle"], seen["Partition"], seen["NumCPUs"]) == ("2", "main", "1")
    assert seen["TimeLimit"] == "00:20:00"


def test_what_slurm_refuses_is_said_in_a_sentence(site):
    sentence = refused(site.train(*SWEEP, "launcher=slurm", "hydra.launcher.partition=nowhere", check=False))
    assert "no job could be started: sbatch refuses: invalid partition specified: nowhere" in sentence
    sentence = refused(site.train(*SWEEP, *SLURM, "hydra.launcher.cpus_per_task=64", check=False))
    assert "no job could be started: sbatch refuses: " in sentence
    assert "More processors requested than permitted" in sentence


def test_a_job_that_is_cancelled_is_named_and_done_when_the_sweep_is_repeated(site):
    """The first at work, the second in the queue; the third does its work."""
    sweep = ("-m", "seed=0,1,2", *(each for each in LONG if "max_epochs" not in each), "hydra.sweep.dir=sweep")
    sweep += ("trainer.max_epochs=30", *SLURM, "hydra.launcher.array_parallelism=1")
    names = [f"{seed}-pade-tiny-digits-s{seed}" for seed in (0, 1, 2)]
    process = site.start(*sweep)
    site.until(lambda: site.has_checkpoint(f"sweep/{names[0]}"))
    array = site.run("squeue", "--noheader", "--format=%F").stdout.split()[0]
    site.run("scancel", f"{array}_1")
    site.run("scancel", f"{array}_0")
    out, err = process.communicate(timeout=200)
    assert process.returncode == 1, out + err
    assert "Traceback" not in err
    assert f"failed: {names[0]}: interrupted in epoch" in err
    assert f"failed: {names[1]}: job {array}_1 was cancelled in Slurm's queue, before it began" in err
    assert "2 of 3 jobs failed" in err
    assert "sweep.resume=true does what is missing" in err
    assert [site.summary(f"sweep/{name}").get("status") for name in names] == ["interrupted", None, "ok"]
    assert (site.folder / "sweep/sweep.md").exists()
    third = site.summary(f"sweep/{names[2]}")
    site.train(*sweep, "sweep.resume=true")
    again = [names[0], "3-pade-tiny-digits-s1", names[2]]
    assert sorted(path.name for path in (site.folder / "sweep").glob("*-*")) == sorted(again)
    assert [site.summary(f"sweep/{name}")["status"] for name in again] == ["ok", "ok", "ok"]
    assert site.summary(f"sweep/{names[2]}") == third
    site.train(*sweep[: -len(SLURM) - 1], "hydra.sweep.dir=here")
    for name, other in zip(names, again, strict=True):
        assert same_training(site, f"here/{name}", f"sweep/{other}")


def test_a_sweep_that_is_interrupted_takes_its_jobs_along(site):
    sweep = ("-m", "seed=0,1", *LONG, "hydra.sweep.dir=sweep", *SLURM, "hydra.launcher.array_parallelism=1")
    process = site.start(*sweep)
    first = "sweep/0-pade-tiny-digits-s0"
    site.until(lambda: site.has_checkpoint(first))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "the sweep was interrupted; go on with the same command" in err
    assert site.run("squeue", "--noheader").stdout == ""
    assert site.summary(first)["status"] == "interrupted"
    assert not site.summary("sweep/1-pade-tiny-digits-s1")


def test_jobs_that_are_queued_are_not_queued_twice(site):
    """The process of the sweep was killed; its jobs are not."""
    holding = site.submit("--partition=main", "--ntasks=2", "--wrap=sleep 100")
    sweep = ("-m", "seed=0,1", *SHORT, "hydra.sweep.dir=sweep", *SLURM)
    process = site.start(*sweep)
    site.until(lambda: len(site.run("squeue", "--noheader", "--array").stdout.splitlines()) == 3)
    process.kill()
    process.communicate()
    sentence = refused(site.train(*sweep, "sweep.resume=true", check=False))
    assert re.search(r"jobs of this sweep are in Slurm's queue already \(\d+_0, \d+_1\)", sentence)
    site.run("scancel", "--user=root")
    site.until(lambda: not site.run("squeue", "--noheader").stdout)
    assert holding
    site.train(*sweep, "sweep.resume=true")


# Two processes, in every way Slurm can be asked for them: the tasks of an srun, and those a run starts by itself.
SCRIPTS = {
    "tasks": (("--ntasks=2",), "srun python run.py"),
    "tasks of a node": (("--ntasks-per-node=2", "--nodes=1"), "srun python run.py"),
    "one task": (("--ntasks=1", "--cpus-per-task=2"), "srun python run.py"),
    "no srun": (("--ntasks=2",), "python run.py"),
    "torchrun": (("--ntasks=1", "--cpus-per-task=2"), "srun torchrun --standalone --nproc_per_node=2 run.py"),
}


@pytest.fixture(scope="module")
def two_processes(environment, tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("two"), environment)
    site.train(*SHORT, *TWO, "hydra.run.dir=whole")
    return site.folder / "whole"


@pytest.mark.parametrize("how", SCRIPTS)
def test_two_processes_are_one_training(site, two_processes, how):
    options, command = SCRIPTS[how]
    (site.folder / "whole").symlink_to(two_processes)
    job = site.submit(*options, site.script("two.sh", f'#!/bin/bash\n{command} "$@"\n'), *SHORT, *TWO)
    site.wait(job, "COMPLETED", "FAILED")
    (directory,) = (site.folder / "outputs").glob("slurm-*")
    assert site.summary(str(directory))["status"] == "ok", site.output(job)
    assert site.output(job).count("test accuracy ") == 1, site.output(job)
    assert same_training(site, "whole", str(directory))


@pytest.mark.parametrize("tasks", [2, 1])
def test_a_sweep_of_runs_of_two_processes(site, two_processes, tasks):
    (site.folder / "whole").symlink_to(two_processes)
    options = (f"hydra.launcher.tasks_per_node={tasks}", f"hydra.launcher.cpus_per_task={3 - tasks}")
    site.train("-m", "seed=0,1", *SHORT, *TWO, *SLURM, *options, "hydra.sweep.dir=sweep")
    assert same_training(site, "whole", "sweep/0-pade-tiny-digits-s0")
    assert site.summary("sweep/1-pade-tiny-digits-s1")["status"] == "ok"


@pytest.mark.parametrize(
    ("arguments", "wanted"), [(SHORT, "trainer.devices=1"), (("mode=report", "path=."), "mode=report")]
)
def test_tasks_that_are_not_those_of_the_run_are_refused(site, arguments, wanted):
    job = site.submit("--ntasks=2", site.script("two.sh", '#!/bin/bash\nsrun python run.py "$@"\n'), *arguments)
    assert site.wait(job, "COMPLETED", "FAILED")["JobState"] == "FAILED"
    assert f"error: srun started 2 processes, and the run is one of 1 ({wanted}" in site.output(job)
    assert "Traceback" not in site.output(job)
    assert not list(site.folder.glob("outputs/*/summary.json"))
    sweep = ("-m", "seed=0,1", *SHORT, *SLURM, "hydra.launcher.tasks_per_node=2")
    if wanted != "mode=report":
        done = site.train(*sweep, check=False)
        assert done.stderr.count("srun started 2 processes, and the run is one of 1") == 2
        refused(done)


def test_a_shell_of_salloc_is_as_any_other(site):
    done = site.run("salloc", "--ntasks=2", "--job-name=mine", "python", RUN, *SHORT)
    assert "test accuracy" in done.stdout
    (directory,) = site.folder.glob("outputs/*/*")  # DATE/TIME
    assert site.summary(str(directory))["status"] == "ok"


def test_so_is_a_terminal_of_srun(site):
    """And one process of two, which are the tasks themselves, is one of a run."""
    command = f"python {RUN} {' '.join(SHORT)}"
    site.run("script", "-qec", f"srun --job-name=mine --pty bash -c '{command} && {command}; exit'", "/dev/null")
    assert len(list(site.folder.glob("outputs/*-*-*/*/summary.json"))) == 2  # DATE/TIME
    site.run("script", "-qec", f"srun --ntasks=2 --pty {command} {' '.join(TWO)}", "/dev/null")
    (directory,) = (site.folder / "outputs").glob("slurm-*")
    assert site.summary(str(directory))["status"] == "ok"


HOWS = {
    "preemption": preempt,
    "SIGUSR1": lambda site: announce(site, "USR1"),
    "SIGUSR2": lambda site: announce(site, "USR2"),
    "scontrol requeue": requeue,
}


@pytest.mark.parametrize("how", HOWS)
def test_a_job_that_is_interrupted_is_queued_again_and_goes_on_exactly(site, undisturbed, how):
    (site.folder / "whole").symlink_to(undisturbed)
    found = interrupt(site, "whole", HOWS[how](site), "train.sh", *LONG)
    assert re.match(r"interrupted in epoch \d+ at step \d+; go on with: ", found.said)
    assert 0 < found.step < 600
    assert found.restarts == 1
    assert found.equal


def test_announcement_without_srun(site, undisturbed):
    """As ``--signal=B:USR1@120`` asks for it."""
    (site.folder / "whole").symlink_to(undisturbed)
    script = site.script("bare.sh", '#!/bin/bash\nexec python run.py "$@"\n')
    found = interrupt(site, "whole", lambda job: site.run("scancel", "--batch", "--signal=USR1", job), script, *LONG)
    assert (found.restarts, found.equal) == (1, True)


def test_preemption_without_srun(site, longer):
    """Slurm ends the job and queues it again by itself; the run has `KillWait` seconds."""
    script = site.script("bare.sh", '#!/bin/bash\nexec python run.py "$@"\n')
    (site.folder / "longer").symlink_to(longer)
    found = interrupt(site, "longer", preempt(site), script, *LONGER)
    assert re.match(r"interrupted in epoch \d+ at step \d+; go on with: ", found.said)
    assert (found.restarts, found.equal) == (1, True)


def test_time_that_runs_out(site, longer):
    """As often as it does: Slurm counts in minutes, and announces the end up to one earlier than it was told to."""
    (site.folder / "longer").symlink_to(longer)
    options = ("--time=1", "--signal=USR1@30")
    found = interrupt(site, "longer", nothing(site), *options, "train.sh", *LONGER)
    assert found.restarts >= 1
    assert found.equal


def test_loading_processes_and_those_of_the_run_leave_the_signal_to_it(site):
    arguments = (*TINY, "trainer.max_epochs=3", *TWO, "data.num_workers=1")
    site.train(*arguments, "hydra.run.dir=whole")
    found = interrupt(site, "whole", announce(site, "USR1"), "train.sh", *arguments)
    assert (found.restarts, found.equal) == (1, True)
    tasks = interrupt(site, "whole", preempt(site), "--ntasks-per-node=2", "train.sh", *arguments)
    assert (tasks.restarts, tasks.equal) == (1, True)


def test_requeueing_can_be_declined_and_a_cancelled_job_is_over(site):
    for arguments, interruption, state in (
        (("trainer.requeue=false",), ("scancel", "--signal=USR1"), "FAILED"),
        ((), ("scancel",), "CANCELLED"),
    ):
        job = site.submit("train.sh", *LONG, *arguments)
        directory = f"outputs/slurm-{job}"
        site.until(lambda place=directory: site.has_checkpoint(place))
        site.run(*interruption, job)
        seen = site.wait(job, "FAILED", "CANCELLED", "COMPLETED", "PENDING")
        site.until(lambda number=job: number not in site.run("squeue", "--noheader", "--format=%i").stdout)
        assert (seen["JobState"], site.show(job)["Restarts"]) == (state, "0")
        assert "interrupted in epoch" in site.summary(directory)["error"]


@pytest.mark.parametrize(
    ("most", "how"), [(1, ("scancel", "--signal=USR2")), (0, "preempted"), (0, ("scancel", "--signal=USR2"))]
)
def test_a_job_of_a_sweep_that_is_interrupted(site, undisturbed, most, how):
    """Submitit's announcement, as often as it may; a preemption, always.

    Of jobs of up to ten minutes it takes every announcement for the end of the time, of longer ones an early one for a
    preemption.
    """
    (site.folder / "whole").symlink_to(undisturbed)
    name = "sweep/0-pade-tiny-digits-s0"
    limits = (f"hydra.launcher.max_num_timeout={most}", "hydra.launcher.timeout_min=8")
    sweep = ("-m", "seed=0", *LONG, "hydra.sweep.dir=sweep", *SLURM, *limits)
    process = site.start(*sweep)
    site.until(lambda: site.has_checkpoint(name))
    (job,) = site.run("squeue", "--noheader", "--format=%i").stdout.split()
    if how == "preempted":
        site.submit(*BUSY)
    else:
        site.run(*how, job)
    _, err = process.communicate(timeout=200)
    again = how == "preempted" or most > 0
    assert "Traceback" not in err
    assert process.returncode == (0 if again else 1), err
    assert site.show(job)["Restarts"] == ("1" if again else "0")
    if not again:
        assert "failed: 0-pade-tiny-digits-s0: interrupted in epoch" in err
        site.train(*sweep, "sweep.resume=true")
    assert same_training(site, "whole", name)


def test_a_whole_sweep_in_one_job_goes_on_when_it_is_queued_again(site):
    sweep = ("-m", "seed=0,1", *TINY, "trainer.max_epochs=20")
    site.train(*sweep, "hydra.sweep.dir=whole")
    job = site.submit("train.sh", *sweep)
    names = [f"{seed}-pade-tiny-digits-s{seed}" for seed in (0, 1)]
    site.until(lambda: site.has_checkpoint(f"multirun/slurm-{job}/{names[1]}"))
    first = site.summary(f"multirun/slurm-{job}/{names[0]}")
    site.run("scancel", "--signal=USR1", job)
    site.wait(job, "PENDING")
    assert site.wait(job, "COMPLETED", "FAILED")["JobState"] == "COMPLETED", site.output(job)
    assert site.summary(f"multirun/slurm-{job}/{names[0]}") == first
    for name in names:
        assert same_training(site, f"whole/{name}", f"multirun/slurm-{job}/{name}")
