"""Where this process stands among the others: alone, under torchrun or under srun."""

import datetime
import gc
import itertools
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from physgen.errors import InputError

RENDEZVOUS_SECONDS = 180
# the main process ships the rest of its journal meanwhile, for at most 90 s (engine.tracking)
LEAVE_SECONDS, LEAVE_POLL_SECONDS = 180.0, 0.2
_launches = itertools.count()  # every process counts alike: the keys of each launch in a store that outlives it
REMEDY = "start with torchrun or srun, or unset the variables to run alone"


@dataclass(frozen=True)
class Launch:
    """One process of a run.

    Args:
        rank: number of this process, 0 is the main one.
        world_size: number of processes.
        local_rank: number of this process on its node; it picks the GPU.
        device: where the tensors of this process live.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    device: torch.device = torch.device("cpu")

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until every process has come here."""
        if self.world_size > 1:
            self.all_agree(True)

    def broadcast_object(self, value: Any) -> Any:
        """Return the value that rank 0 passed, on every rank."""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def all_agree(self, vote: bool) -> bool:
        """Whether every rank voted true (all_reduce MIN over the CPU group; the GPU queue is not waited for)."""
        if self.world_size == 1:
            return bool(vote)
        ballot = torch.tensor(int(bool(vote)))
        dist.all_reduce(ballot, op=dist.ReduceOp.MIN)
        return bool(ballot.item())

    def wrap(self, module: torch.nn.Module) -> torch.nn.Module:
        """The module on this device, with gradients averaged over the processes (DDP); itself when alone."""
        module = module.to(self.device)
        if self.world_size == 1:
            return module
        ids = [self.device.index] if self.device.type == "cuda" else None
        return torch.nn.parallel.DistributedDataParallel(module, device_ids=ids)


def first_host(nodelist: str) -> str:
    """First host of a Slurm node list: ``node[03-05,9],login1`` gives ``node03``.

    Raises:
        InputError: the list is empty or its bracket is not closed.
    """
    prefix, bracket, rest = nodelist.strip().partition("[")
    if "," in prefix or not bracket:
        host = prefix.split(",")[0]
    else:
        numbers, closed, rest = rest.partition("]")
        suffix = rest.split(",")[0]
        host = prefix + numbers.replace("-", ",").split(",")[0] + suffix if closed else ""
    if not host or "[" in host:
        raise InputError(f"SLURM_JOB_NODELIST is {nodelist!r}, a list like node[03-05] is needed; set MASTER_ADDR")
    return host


def node_number(environment: Mapping[str, str] | None = None) -> int:
    """Number of this node within the run: GROUP_RANK of torchrun, else SLURM_NODEID, else 0."""
    environment = os.environ if environment is None else environment
    return int(environment.get("GROUP_RANK") or environment.get("SLURM_NODEID") or 0)


def _integer(environment: Mapping[str, str], name: str) -> int:
    try:
        return int(environment[name])
    except ValueError:
        raise InputError(f"{name} is {environment[name]!r}, an integer is needed; {REMEDY}") from None
    except KeyError:
        raise InputError(f"{name} is not set beside the other launch variables; {REMEDY}") from None


def places(environment: Mapping[str, str]) -> tuple[str, int, int, int]:
    """Read (launcher, rank, world_size, local_rank): from torchrun, else from srun, else ("single", 0, 1, 0).

    Raises:
        InputError: variables are missing or contradict each other.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        launcher, names = "torchrun", ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    elif "SLURM_PROCID" in environment and ("SLURM_STEP_NUM_TASKS" in environment or "SLURM_NTASKS" in environment):
        # a batch script or an interactive shell is one task of a job of many: the step's own count goes first
        tasks = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
        launcher, names = "srun", ("SLURM_PROCID", tasks, "SLURM_LOCALID")
    else:
        return "single", 0, 1, 0
    rank, world_size, local_rank = (_integer(environment, name) for name in names)
    if not 0 <= rank < world_size:
        raise InputError(f"{names[0]}={rank} lies outside 0..{world_size - 1} ({names[1]}); {REMEDY}")
    return launcher, rank, world_size, local_rank


def choose_device(device: str, local_rank: int) -> torch.device:
    """``auto`` is this process's GPU where CUDA works, else the CPU; other names are taken literally.

    Raises:
        InputError: unknown name, no CUDA, or more processes on the node than GPUs.
    """
    try:
        chosen = torch.device(
            "cuda" if device == "auto" and torch.cuda.is_available() else "cpu" if device == "auto" else device
        )
    except RuntimeError:
        raise InputError(f"device {device!r} is unknown; use auto, cpu, cuda or cuda:N") from None
    if chosen.type != "cuda":
        return chosen
    if not torch.cuda.is_available():
        raise InputError(f"device {device!r} needs CUDA, which torch {torch.__version__} does not see; use device cpu")
    index = local_rank if chosen.index is None else chosen.index
    if index >= torch.cuda.device_count():
        raise InputError(
            f"process {local_rank} of this node wants GPU {index} of {torch.cuda.device_count()}; "
            "start one process per GPU"
        )
    return torch.device("cuda", index)


def _slurm_store(environment: Mapping[str, str], rank: int, world_size: int) -> dist.TCPStore:
    host = environment.get("MASTER_ADDR")
    if host is None:
        nodelist = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST")
        host = first_host(nodelist) if nodelist else socket.gethostname()
    port = int(environment.get("MASTER_PORT") or 20000 + int(environment.get("SLURM_JOB_ID") or 0) % 20000)
    try:
        return dist.TCPStore(host, port, world_size, rank == 0, datetime.timedelta(seconds=RENDEZVOUS_SECONDS))
    except (dist.DistError, RuntimeError) as error:
        raise InputError(
            f"rank {rank} of {world_size} met no partners at {host}:{port} within {RENDEZVOUS_SECONDS} s "
            f"({str(error).splitlines()[0]}); {REMEDY}"
        ) from None


def _join(launcher: str, backend: str, rank: int, world_size: int) -> dist.Store:
    """Make the process group; the store through which its processes met.

    The first import of ``torch.distributed.nn`` binds the group of that moment to the defaults of its functions, for
    ever, and DistributedDataParallel imports it. Imported before there is a group, it holds none: destroying the group
    then ends gloo's threads, which would else want the interpreter's lock while the process ends, and abort it.
    """
    import torch.distributed.nn  # noqa: F401
    from torch.distributed.rendezvous import rendezvous

    if launcher == "srun":
        store = _slurm_store(os.environ, rank, world_size)
    else:
        store, _, _ = next(rendezvous("env://"))
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)
    return store


def _meet(store: dist.Store, here: Launch, number: int, wait: bool) -> None:
    """Say that this process leaves and, unless it failed, wait for the others: launchers end the rest of a job.

    The store and not a collective: one that failed or was killed would hold a collective up for half an hour, and each
    collective leaves a thread of gloo to come to its end.
    """
    keys = [f"physgen/launch-{number}/left/{rank}" for rank in range(here.world_size)]
    deadline = time.monotonic() + LEAVE_SECONDS
    try:
        store.set(keys[here.rank], "1")
        while wait and not store.check(keys) and time.monotonic() < deadline:
            time.sleep(LEAVE_POLL_SECONDS)
    except (dist.DistError, RuntimeError):
        pass  # its host, the first process of srun, has left


@contextmanager
def launch(device: str = "auto") -> Iterator[Launch]:
    """Join the processes of this run, give the :class:`Launch`, and leave them, all together, at the end.

    gloo carries CPU tensors and votes, nccl carries CUDA tensors. A single process joins nothing. A process that fails
    leaves at once, so that the launcher learns of it; the others wait for each other for at most LEAVE_SECONDS. What is
    wrapped should be released within the block: the group's threads live as long as it does.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        InputError: an unusable device or launch environment.
    """
    launcher, rank, world_size, local_rank = places(os.environ)
    chosen = choose_device(device, local_rank)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    here = Launch(rank, world_size, local_rank, chosen)
    if world_size == 1:
        yield here
        return
    store = _join(launcher, "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo", rank, world_size)
    number, failed = next(_launches), True
    try:
        yield here
        failed = False
    finally:
        _meet(store, here, number, wait=not failed)
        dist.destroy_process_group()
        gc.collect()  # a wrapped module is a cycle that holds the group and its threads
