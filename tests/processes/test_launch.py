"""Launch environment: torchrun, srun, alone."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from physgen.errors import InputError
from physgen.processes.launch import LEAVE_SECONDS, choose_device, first_host, launch, node_number, places
from physgen.tracking import tracker as tracking


@pytest.mark.parametrize(
    ("nodelist", "host"),
    [
        ("node7", "node7"),
        ("node[03-05,9],login1", "node03"),
        ("a1,b[1-2]", "a1"),
        ("gpu[12]", "gpu12"),
        ("n[1-2]-ib,x", "n1-ib"),
        ("rack-1-node[001-100]", "rack-1-node001"),
    ],
)
def test_first_host_of_a_slurm_nodelist(nodelist, host):
    assert first_host(nodelist) == host


@pytest.mark.parametrize("nodelist", ["", "node[01", "[["])
def test_a_broken_nodelist_is_refused_with_its_value(nodelist):
    with pytest.raises(InputError, match="SLURM_JOB_NODELIST"):
        first_host(nodelist)


def test_torchrun_variables_go_before_slurm_ones():
    slurm = {"SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NTASKS": "4"}
    assert places(slurm) == ("srun", 3, 4, 1)
    assert places({**slurm, "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}) == ("torchrun", 1, 2, 1)
    assert places({"SLURM_NTASKS": "4"}) == ("single", 0, 1, 0)  # a login shell within salloc
    assert places({}) == ("single", 0, 1, 0)


def test_the_tasks_of_the_slurm_step_count_not_those_of_the_job():
    shell = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1"}
    assert places(shell) == ("srun", 0, 1, 0)


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "0", "WORLD_SIZE": "2"},
        {"RANK": "2", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
        {"RANK": "x", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
    ],
)
def test_contradictory_launch_variables_are_refused(environment):
    with pytest.raises(InputError, match="torchrun or srun"):
        places(environment)


def test_node_number_comes_from_the_launcher():
    assert node_number({"GROUP_RANK": "2", "SLURM_NODEID": "5"}) == 2
    assert node_number({"SLURM_NODEID": "5"}) == 5
    assert node_number({}) == 0


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_an_unusable_device_is_refused_with_its_name(device):
    with pytest.raises(InputError, match="abacus|99|CUDA"):
        choose_device(device, 0)


def test_alone_no_process_group_is_made(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    module = torch.nn.Linear(2, 2)
    with launch("cpu") as here:
        assert not torch.distributed.is_initialized()
        assert (here.rank, here.world_size, here.is_main, here.device.type) == (0, 1, True, "cpu")
        assert here.wrap(module) is module
        assert here.broadcast_object("run") == "run"
        assert here.all_agree(True) and not here.all_agree(False)
        here.barrier()


def two_tasks(code, launcher):
    """Start the code as two tasks that find each other as under a launcher: [(exit status, words said)] by rank."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    inherited = {name: value for name, value in os.environ.items() if name not in {"RANK", "WORLD_SIZE", "LOCAL_RANK"}}
    common = {**inherited, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1", "MASTER_PORT": port}

    def environment(rank):
        if launcher == "torchrun":
            return {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
        slurm = {"PROCID": rank, "LOCALID": rank, "NTASKS": "2", "JOB_NODELIST": "localhost", "JOB_ID": "77"}
        return {f"SLURM_{name}": value for name, value in slurm.items()}

    tasks = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**common, **environment(str(rank))}
        )
        for rank in range(2)
    ]
    said = [task.communicate(timeout=120)[0].strip() for task in tasks]
    return [(task.returncode, words) for task, words in zip(tasks, said, strict=True)]


LEAVING = """
import time
from pathlib import Path
import torch
from physgen.processes.launch import launch

def train(here):
    wrapped = here.wrap(torch.nn.Linear(1, 1, bias=False))
    wrapped(torch.full((1, 1), float(here.rank))).sum().backward()
    here.barrier()
    gradient = wrapped.module.weight.grad.item()
    print(here.rank, here.broadcast_object(here.rank + 5), here.all_agree(True), here.all_agree(here.is_main), gradient)

def threads():
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]

with launch("cpu") as here:
    train(here)
    within = "pt_gloo_runloop" in threads()
    time.sleep({seconds} if here.is_main else 0)  # the main process ships
    shipped = time.time()
    {then}
print(within, "pt_gloo_runloop" in threads(), shipped, time.time())
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are listed in /proc on Linux alone")
@pytest.mark.parametrize("launcher", ["torchrun", "srun"])
def test_two_tasks_share_gradients_and_leave_together_after_the_shipping(launcher):
    """And no thread outlives the group: one of gloo that frees a tensor as the interpreter ends aborts the process."""
    (first, said), (second, answered) = two_tasks(LEAVING.format(seconds=1, then=""), launcher)
    assert (first, second) == (0, 0)
    (shared, said), (also, answered) = said.splitlines(), answered.splitlines()
    assert (shared, also) == ("0 5 True False 0.5", "1 5 True False 0.5")
    (*threads, shipped, _), (*their_threads, _, they_left) = said.split(), answered.split()
    assert threads == their_threads == ["True", "False"]
    assert float(they_left) > float(shipped)


def test_a_process_that_fails_leaves_at_once_and_is_not_waited_for():
    started = time.monotonic()
    (first, _), (second, _) = two_tasks(LEAVING.format(seconds=1, then="assert here.is_main"), "torchrun")
    assert (first, second) == (0, 1)
    assert time.monotonic() - started < LEAVE_SECONDS / 2


def test_the_others_wait_longer_than_shipping_may_take():
    assert LEAVE_SECONDS > tracking.FLUSH_SECONDS + 30
