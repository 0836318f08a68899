"""A Slurm of one machine, with a configuration of its own in a folder of its own, for tests and `benchmarks.slurm`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
START = 20.0  # seconds the daemons may take; they take a fraction of one
GRACE = 8  # seconds between Slurm's warning to a job of `main` that has to make room and its end
CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
CredType=cred/munge
# A job that is queued again waits until its credentials of the first time have expired: two minutes by default.
AuthInfo=socket={folder}/munge/socket,cred_expire=6
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
ReturnToService=2
EnforcePartLimits=ALL
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=15
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 Sockets=1 CoresPerSocket=2 RealMemory=4000
PartitionName=main Nodes=localhost Default=YES MaxTime=60 PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace}
PartitionName=urgent Nodes=localhost MaxTime=60 PriorityTier=10
"""


class NoClusterError(RuntimeError):
    """Why there is no Slurm here."""


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Slurm with one machine of two cores, ended with the block.

    Jobs of the partition ``main`` make room for those of ``urgent``: they are warned, and queued again `GRACE` seconds
    later.

    Args:
        folder: an empty one, to which everybody has access: munge's rule for its socket.

    Yields the environment in which Slurm's commands, and the jobs, find it.

    Raises:
        NoClusterError: it is not installed, or does not start here.
    """
    programs = {name: shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") for name in PROGRAMS}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        raise NoClusterError(f"no {missing[0]} here; on Debian: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        raise NoClusterError("slurmd and munged of a cluster of its own are started by root only")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    environment["SLURM_CONF"] = str(_configure(folder))
    try:
        _start([str(programs["munged"]), *_munge(folder)], environment)
        _start([str(programs["slurmctld"]), "-c"], environment)
        _start([str(programs["slurmd"]), "-N", "localhost"], environment)
        _wait(folder, environment)
        yield environment
    finally:
        subprocess.run(["scancel", "--user=root"], env=environment, capture_output=True, check=False, timeout=60)
        _end(folder, environment)


def _configure(folder: Path) -> Path:
    folder.chmod(0o711)
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir()
    (folder / "munge").chmod(0o711)
    key = folder / "munge/key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], other.getsockname()[1]
    file = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    file.write_text(
        CONFIG.format(host=host, user="root", controller=ports[0], daemon=ports[1], folder=folder, grace=GRACE)
    )
    return file


def _munge(folder: Path) -> list[str]:
    places = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    return [f"--{option}={folder}/munge/{name}" for option, name in places.items()]


def _start(command: list[str], environment: dict[str, str]) -> None:
    """Start a daemon, which leaves this process by itself."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=START, check=False)
    if done.returncode:
        raise NoClusterError(f"{Path(command[0]).name} does not start: {(done.stderr or done.stdout).strip()}")


def _wait(folder: Path, environment: dict[str, str]) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        if _pids(folder).keys() >= {"slurmctld", "slurmd"}:
            told = subprocess.run(
                ["sinfo", "--noheader", "--format=%t"], env=environment, capture_output=True, text=True, check=False
            )
            if "idle" in told.stdout:
                return
        time.sleep(0.1)
    logs = [(folder / f"{name}.log").read_text()[-500:] for name in ("slurmctld", "slurmd")]
    raise NoClusterError(f"Slurm does not come up: {' '.join(logs)}")


def _pids(folder: Path) -> dict[str, int]:
    found = {}
    for name, file in (("slurmctld", "slurmctld.pid"), ("slurmd", "slurmd.pid"), ("munged", "munge/pid")):
        with suppress(OSError, ValueError):
            found[name] = int((folder / file).read_text())
    return found


def _end(folder: Path, environment: dict[str, str]) -> None:
    """End the jobs, then the daemons, and wait for that."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        told = subprocess.run(["squeue", "--noheader"], env=environment, capture_output=True, text=True, check=False)
        if told.returncode or not told.stdout.strip():
            break
        time.sleep(0.2)
    for number in _pids(folder).values():  # munge last, without which the others wait for answers
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGTERM)
        while time.monotonic() < deadline and Path(f"/proc/{number}").exists():
            time.sleep(0.05)
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
