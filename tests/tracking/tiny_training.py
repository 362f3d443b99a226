"""A training script of the usual shape with a linear model, started by the tests alone or under torchrun.

tiny_training.py RUN STEPS [--die RANK:STEP] [--die-while-saving STEP] [--signal NAME:STEP] [--tracking URI]
"""

import argparse
import json
import os
import signal
from pathlib import Path

import torch

from physgen.processes.launch import launch
from physgen.processes.signals import StopRequest
from physgen.storage.checkpoint import load_checkpoint, save_checkpoint
from physgen.tracking.journal import Journal
from physgen.tracking.tracker import Tracker

EVERY = 5


def batch(step, here):
    """Rank r of w takes samples r::w of a batch that depends on the step alone."""
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
    return x[here.rank :: here.world_size], x.sum(1, keepdim=True)[here.rank :: here.world_size]


def misfortune(options, here, step):
    """Send this process the signal that the test ordered for this rank and step."""
    if options.die == f"{here.rank}:{step}":
        os.kill(os.getpid(), signal.SIGKILL)
    if options.signal and here.is_main and options.signal.endswith(f":{step}"):
        os.kill(os.getpid(), getattr(signal, options.signal.split(":")[0]))
    if options.die_while_saving == step:
        os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)


def train(options, here, journal, stop, found):
    """Train to options.steps from the last checkpoint on; return whether the end was reached."""
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    folder, done = options.run / "checkpoints", 0
    if found is not None:
        state = found[0]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        done = state["step"]
    wrapped = here.wrap(model)
    for step in range(done + 1, options.steps + 1):
        misfortune(options, here, step)
        x, target = batch(step, here)
        loss = (wrapped(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        journal.log(step, {"train/loss": loss.detach()})
        stopping = stop.poll()
        if step % EVERY == 0 or step == options.steps or stopping:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            save_checkpoint(folder, step, state, here, {"journal_offset": journal.sync()})
        if stopping:
            return False
    return True


def main():
    """Read the command line and train."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("steps", type=int)
    parser.add_argument("--die", default="")
    parser.add_argument("--die-while-saving", type=int)
    parser.add_argument("--signal", default="")
    parser.add_argument("--tracking", default="off")
    options = parser.parse_args()
    with launch("cpu") as here, StopRequest(here) as stop, Journal(options.run, write=here.is_main) as journal:
        found = load_checkpoint(options.run / "checkpoints", here)
        journal.rewind(*(0, 0) if found is None else (found[0]["step"], found[1]["journal_offset"]))
        with Tracker(journal, here, "tiny", "tests", options.tracking) as tracker:
            tracker.params({"steps": options.steps})
            if not train(options, here, journal, stop, found):
                tracker.status = "KILLED"
        if here.is_main:
            print(json.dumps({"status": tracker.status}))


if __name__ == "__main__":
    main()
