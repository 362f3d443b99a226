"""Jobs side by side: their results, and that none outlives the failure of another, a signal or its parent."""

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from physgen.errors import InputError
from physgen.processes.together import STOP_SECONDS, JobFailed, run_together


def speak(tell, word):
    tell(word, 1)
    return word.upper()


def wait_for(path):
    while not path.exists():
        time.sleep(0.05)


def fail(tell, error, after):
    wait_for(after)
    raise error


def die(tell, number, after):
    wait_for(after)
    os.kill(os.getpid(), number)
    time.sleep(120)


def linger(tell, path):
    try:
        path.with_suffix(".begun").touch()
        tell(os.getpid())
        time.sleep(120)
    finally:
        path.write_text("cleaned up")


def pool(tell, path):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as workers:
        busy = workers.submit(time.sleep, 1000)
        while not busy.running():
            time.sleep(0.05)
        tell()
        busy.result()


def together(hear=lambda *_: None, **jobs):
    return run_together({name: functools.partial(job, **options) for name, (job, options) in jobs.items()}, hear)


def test_results_come_by_name_and_what_was_told_is_heard():
    heard = []
    found = together(lambda *it: heard.append(it), a=(speak, {"word": "yes"}), b=(speak, {"word": "no"}))
    assert found == {"a": "YES", "b": "NO"}
    assert sorted(heard) == [("a", "yes", 1), ("b", "no", 1)]


@pytest.mark.parametrize(
    ("bad", "says", "traced"),
    [
        ((fail, {"error": InputError("no such field")}), "no such field", False),
        ((fail, {"error": OSError(28, "No space left on device", "x.h5")}), "x.h5: No space left", False),
        ((fail, {"error": ZeroDivisionError("of nothing")}), "ZeroDivisionError: of nothing", True),
        ((die, {"number": signal.SIGKILL}), "SIGKILL, perhaps for want of memory", False),
        ((die, {"number": signal.SIGTERM}), "was stopped", False),
    ],
)
def test_the_first_failure_stops_the_others_which_clean_up(tmp_path, bad, says, traced):
    function, options = bad
    with pytest.raises(JobFailed, match=says) as caught:
        together(
            good=(linger, {"path": tmp_path / "end"}), bad=(function, {**options, "after": tmp_path / "end.begun"})
        )
    assert (caught.value.name, caught.value.stopped) == ("bad", ["good"])
    assert ("in fail" in caught.value.trace) == traced
    assert (tmp_path / "end").read_text() == "cleaned up"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_at_once(tmp_path, number):
    waiting = {"a", "b"}

    def hear(name, process):
        waiting.discard(name)
        if not waiting:
            threading.Timer(0.1, os.kill, (os.getpid(), number)).start()

    jobs = {name: (linger, {"path": tmp_path / name}) for name in ("a", "b")}
    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        together(hear, **jobs)
    assert time.monotonic() - before < 60
    assert (tmp_path / "a").exists() and (tmp_path / "b").exists()


def test_a_pool_of_a_job_is_not_waited_for():
    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        together(lambda name: os.kill(os.getpid(), signal.SIGTERM), a=(pool, {"path": None}))
    assert time.monotonic() - before < STOP_SECONDS


def test_jobs_end_with_a_parent_that_was_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import functools, pathlib, sys\nfrom physgen.processes.together import run_together\n"
        f"sys.path.insert(0, {os.path.dirname(__file__)!r})\nfrom test_together import linger\n"
        "if __name__ == '__main__':\n"
        f"    job = functools.partial(linger, path=pathlib.Path({str(tmp_path / 'end')!r}))\n"
        "    run_together({'a': job}, lambda *it: print('ready', flush=True))\n"
    )
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "ready\n"
    parent.kill()
    parent.wait()
    end = time.monotonic() + 60
    while not (tmp_path / "end").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert (tmp_path / "end").exists()
