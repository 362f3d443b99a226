"""Stopping when asked."""

import os
import signal

import pytest

from physgen.processes import signals
from physgen.processes.launch import Launch
from physgen.processes.signals import SIGNALS, StopRequest


@pytest.mark.parametrize("number", SIGNALS)
def test_each_stop_signal_sets_the_flag_and_the_old_handler_returns(number):
    before = signal.getsignal(number)
    with StopRequest(Launch()) as stop:
        assert not stop.poll()
        os.kill(os.getpid(), number)
        assert stop.poll()
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_aborts_but_one_press_delivered_twice_does_not(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    with StopRequest(Launch()) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        now[0] += 0.1
        os.kill(os.getpid(), signal.SIGINT)
        now[0] += 1.0
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.poll()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_one_rank_asked_is_all_ranks_stopped():
    class OthersVoteNo(Launch):
        def all_agree(self, vote):
            return False

    stop = StopRequest(OthersVoteNo())
    assert stop.poll()
