"""Jobs in processes of their own, side by side: all of them end well, or the first that does not stops the others.

This process alone waits, writes to the terminal and answers to Ctrl-C; the others tell it how far they are.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from physgen.errors import InputError

Tell = Callable[..., None]
Job = Callable[[Tell], Any]  # picklable; calls tell(...) now and then
STOP_SECONDS = 30.0  # to end one step of a training and save it
TOLD, DONE, FAILED = "told", "done", "failed"


class JobFailed(RuntimeError):
    """A job ended without its result.

    Attributes:
        name: of the job. trace: where it failed, empty where the message says all.
        stopped: jobs that were stopped for it.
    """

    def __init__(self, name: str, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.name, self.trace, self.stopped = name, trace, list[str]()


def run_together(jobs: Mapping[str, Job], hear: Callable[..., None]) -> dict[str, Any]:
    """Run each job in a new process; what they return, by name.

    Args:
        jobs: what a job passes to its argument ``tell`` comes here as ``hear(name, ...)``.

    Raises:
        JobFailed: of the first job that failed or died; the others were asked to stop, and have ended.
        KeyboardInterrupt: likewise, on Ctrl-C and on SIGTERM. A second one kills them.
    """
    spawn = get_context("spawn")  # a fork would share the threads of torch
    running: dict[str, BaseProcess] = {}
    waiting: dict[Connection, str] = {}
    results: dict[str, Any] = {}
    with _terminated_is_interrupted():
        try:
            for name, job in jobs.items():
                mine, theirs = spawn.Pipe(duplex=False)
                running[name], waiting[mine] = spawn.Process(target=_work, args=(job, theirs), name=name), name
                with _ignored(signal.SIGINT):  # inherited: Ctrl-C reaches all, and this process alone acts on it
                    running[name].start()
                theirs.close()
            while waiting:
                for answer in wait(list(waiting)):
                    assert isinstance(answer, Connection)
                    _hear(answer, waiting, running, results, hear)
        except JobFailed as failed:
            failed.stopped += [name for name in jobs if name not in {*results, failed.name}]
            raise
        finally:
            _stop([process for process in running.values() if process.pid is not None])
    return {name: results[name] for name in jobs}


def _hear(
    answer: Connection,
    waiting: dict[Connection, str],
    running: Mapping[str, BaseProcess],
    results: dict[str, Any],
    hear: Callable[..., None],
) -> None:
    """One message of one job."""
    name = waiting[answer]
    try:
        kind, content = answer.recv()
    except EOFError:
        running[name].join()
        raise JobFailed(name, _how_it_ended(running[name].exitcode)) from None
    if kind == TOLD:
        hear(name, *content)
        return
    del waiting[answer]
    if kind == FAILED:
        raise JobFailed(name, *content)
    results[name] = content


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        why = ", perhaps for want of memory" if -code == signal.SIGKILL else ""
        return f"its process was ended by {signal.Signals(-code).name}{why}"
    return "its process was stopped" if code == 128 + signal.SIGINT else f"its process ended with code {code}"


def _stop(processes: list[BaseProcess]) -> None:
    """Ask those that still run to stop, wait for them, and kill those that do not."""
    try:
        for process in processes:
            process.terminate()
        end = time.monotonic() + STOP_SECONDS
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))
    finally:
        for process in processes:
            process.kill()
            process.join()


@contextmanager
def _ignored(number: signal.Signals) -> Iterator[None]:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, so that no process stays behind."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


# --- in the process of a job ----------------------------------------------------------------------


def _interrupt_all(number: int, frame: object) -> None:
    """A pool would wait for the work in hand: its processes end first, and what its threads say of that is no news."""
    threading.excepthook = lambda failed: None
    for process in active_children():
        process.terminate()
    raise KeyboardInterrupt


def _work(job: Job, answer: Connection) -> None:
    signal.signal(signal.SIGTERM, _interrupt_all)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        said = (DONE, job(lambda *content: answer.send((TOLD, content))))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # nobody waits any more
        sys.exit(1)
    except InputError as error:
        said = (FAILED, (str(error),))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        said = (FAILED, (f"{where}{error.strerror or error}",))
    except BaseException as error:
        said = (FAILED, (f"{type(error).__name__}: {error}", traceback.format_exc()))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends by itself
    answer.send(said)


def _end_with_parent() -> None:
    """A parent that was killed cannot stop its children."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
