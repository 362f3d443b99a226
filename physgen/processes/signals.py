"""Stop when asked: finish the step, save, end."""

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from physgen.processes.launch import Launch

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None  # what signal.signal takes and gives
SAME_PRESS_SECONDS = 0.5  # a terminal and a wrapper (uv run, make) deliver one Ctrl-C twice


class StopRequest:
    """Turns SIGINT, SIGTERM and SIGUSR1 into a flag that the training loop polls.

    ::

        with StopRequest(launch) as stop:
            for step in ...:
                if stop.poll():   # the same answer on every rank
                    save; break

    A second Ctrl-C raises KeyboardInterrupt. Outside the main thread no handler is installed; :meth:`ask` still works.

    Args:
        launch: the processes that must stop together.
    """

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._asked = False
        self._asked_at = 0.0
        self._previous: dict[int, Handler] = {}

    def ask(self) -> None:
        """Ask every rank to stop after the current step."""
        self._asked = True

    def poll(self) -> bool:
        """Whether any rank was asked to stop: a vote, so every rank must call it equally often."""
        stop = not self._launch.all_agree(not self._asked)
        if stop:
            self.ask()
        return stop

    def _receive(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        now = time.monotonic()
        if not self._asked:
            self._asked_at = now
            self.ask()
            if self._launch.is_main:
                # not print: the signal may have interrupted one
                os.write(2, f"physgen: {name}: saving after this step, then stopping (Ctrl-C aborts)\n".encode())
        elif number == signal.SIGINT and now - self._asked_at > SAME_PRESS_SECONDS:
            raise KeyboardInterrupt

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            # None: the handler before was not set from Python and cannot be put back
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous = {}
