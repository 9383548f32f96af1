"""A real SLURM of a few nodes on this machine: munged, slurmctld and slurmd on loopback, everything in one folder."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from command import ENVIRONMENT, until

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
SETTINGS = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=2,sched_min_interval=0
ReturnToService=2
KillWait=2
MpiDefault=none
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
"""
NODE = "NodeName=n{k} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000 State=UNKNOWN\n"
PARTITION = "PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"


class Slurm:
    """Talks to the daemons; every command finds them by SLURM_CONF."""

    def __init__(self, conf: Path) -> None:
        self.environment = {
            **ENVIRONMENT,
            "SLURM_CONF": str(conf),
            "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "2s",
        }

    def __call__(self, *words: object, cwd: Path | None = None, timeout: float = 120) -> str:
        """What a command of SLURM prints."""
        done = subprocess.run(
            [str(word) for word in words], cwd=cwd, env=self.environment, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def jobs(self, *states: str) -> list[str]:
        """The numbers of the jobs in these states, or of all that have not ended, the oldest first."""
        which = ["-t", ",".join(states)] if states else []
        return sorted(self("squeue", "-h", "-o", "%i", *which).split(), key=int)

    def state(self, job: str) -> str:
        """Of a job, ended ones included for a minute."""
        shown = self("scontrol", "-o", "show", "job", job)
        return next(word.partition("=")[2] for word in shown.split() if word.startswith("JobState="))


@contextmanager
def slurm_daemons(folder: Path, nodes: int = 3) -> Iterator[Slurm]:
    """SLURM until the end of the block; its daemons are stopped by the numbers of their processes."""
    missing = [command for command in COMMANDS if shutil.which(command) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed; apt-get install slurm-wlm munge")
    conf = _write_settings(folder, nodes)
    slurm = Slurm(conf)
    try:
        _start_munge(folder)
        slurm("slurmctld", "-f", conf, "-c")
        for k in range(nodes):
            slurm("slurmd", "-f", conf, "-N", f"n{k}")
        until(lambda: slurm("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * nodes, 30)
        yield slurm
    finally:
        if (folder / "slurmctld.pid").exists():
            subprocess.run(["scancel", "-u", getpass.getuser()], env=slurm.environment, check=False, timeout=30)
            time.sleep(1)
        for file in [*folder.glob("slurmd.*.pid"), folder / "slurmctld.pid", folder / "munge" / "pid"]:
            _stop(file)


def _write_settings(folder: Path, nodes: int) -> Path:
    for name in ("munge", "state", *(f"spool/n{k}" for k in range(nodes))):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    (folder / "munge").chmod(0o755)
    key = folder / "munge" / "key"
    key.touch(0o600)
    key.write_bytes(os.urandom(1024))
    host, ports = socket.gethostname().partition(".")[0], _free_ports(nodes + 1)
    text = SETTINGS.format(host=host, port=ports[0], user=getpass.getuser(), folder=folder)
    text += "".join(NODE.format(k=k, host=host, port=port) for k, port in enumerate(ports[1:]))
    conf = folder / "slurm.conf"
    conf.write_text(text + PARTITION)
    return conf


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _start_munge(folder: Path) -> None:
    place = folder / "munge"
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
    options = [f"--{option}={place / name}" for option, name in files.items()]
    subprocess.run(["munged", *options, "--force"], check=True, capture_output=True, timeout=30)


def _stop(file: Path) -> None:
    """The process that wrote its number into a file."""
    try:
        process = psutil.Process(int(file.read_text()))
        process.terminate()
        process.wait(10)
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        pass
    except psutil.TimeoutExpired:
        process.kill()
