"""The real training of every domain: killed, stopped, resumed and distributed, it is the same training."""

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from physgen.config import load_config
from physgen.domains.contract import list_domains
from physgen.errors import InputError
from physgen.runs.folder import open_run, read_json
from physgen.stages import simulate, train
from physgen.tracking.identity import read_run
from physgen.tracking.journal import read_journal
from physgen.tracking.server import Store

ROOT = Path(__file__).resolve().parents[2]
STEPS = 20  # with checkpoints at 10 and 20
AVERAGES = 6  # stored at 3, 7, 10, 13, 17 and 20: one between a checkpoint and the death at 13
every_domain = pytest.mark.parametrize("domain", list_domains())
# the command line of physgen in a process that kills itself once the loss of step DIE_AT is in the journal
DEADLY = """
import os, signal, sys
from physgen.cli import main
from physgen.tracking.journal import Journal

log = Journal.log

def log_and_die(journal, step, metrics):
    log(journal, step, metrics)
    if str(step) == os.environ["DIE_AT"] and "train/loss" in metrics:
        os.kill(os.getpid(), signal.SIGKILL)

Journal.log = log_and_die
sys.exit(main())
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """domain -> path of the ensemble of its smoke configuration."""
    folder = tmp_path_factory.mktemp("data")

    @functools.cache
    def make(domain):
        return simulate(load_config(ROOT / "configs" / domain / "smoke.yaml"), folder / f"{domain}.h5")

    return make


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """domain -> folder of an undisturbed run in this process."""
    runs = tmp_path_factory.mktemp("alone")
    return functools.cache(lambda domain: train(experiment(domain, data(domain)), runs, device="cpu"))


def words(dataset, *more):
    return [
        f"dataset={dataset}",
        "training.log_every=1",
        f"training.averages={AVERAGES}",
        *(more or ["tracking.uri=off"]),
    ]


def experiment(domain, dataset, *more):
    return load_config(ROOT / "configs" / domain / "smoke.yaml", [*words(dataset), *more])


def two_processes(domain, overrides, runs, *options, die_at=None):
    """`torchrun --nproc-per-node=2 physgen train ...`."""
    command = ["-m", "physgen.cli"]
    if die_at is not None:
        script = runs.parent / "deadly.py"
        script.write_text(DEADLY)
        command = [str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "DIE_AT": str(die_at)}
    config = str(ROOT / "configs" / domain / "smoke.yaml")
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *command, "train",
         config, *overrides, "--runs", str(runs), "--device", "cpu", *options],
        env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


def curves(run):
    """(step, metric, exact value) of all that a step computes, in the order of the journal."""
    return [
        (entry["step"], name, value.hex())
        for entry in read_journal(run)
        for name, value in entry.get("metrics", {}).items()
        if name.startswith(("train/", "validation/")) and name != "train/samples_per_second"
    ]


def snapshots(run):
    """Every file of the stored averages with its bytes."""
    return {path.name: path.read_bytes() for path in (run / "averages").iterdir()}


def losses(run):
    return [float.fromhex(value) for _, name, value in curves(run) if name == "train/loss"]


def statuses(run):
    return [entry["status"] for entry in read_journal(run) if entry.get("event") == "status"]


@pytest.fixture(scope="module")
def together(data, tmp_path_factory):
    """domain -> folder of an undisturbed run of two processes."""

    @functools.cache
    def make(domain):
        runs = tmp_path_factory.mktemp("together") / "runs"
        ended = two_processes(domain, words(data(domain)), runs)
        assert ended.returncode == 0, ended.stderr
        return runs / f"{domain}-smoke"

    return make


def test_one_process_and_two_train_the_same_model(alone, together):
    """The sum of the gradients is taken in another order: float32 rounding, no more."""
    domain = list_domains()[0]
    assert len(losses(together(domain))) == STEPS
    assert losses(alone(domain)) == pytest.approx(losses(together(domain)), rel=1e-5)


def test_two_processes_killed_and_resumed_give_the_undisturbed_curve_bit_for_bit(data, together, tmp_path):
    domain = list_domains()[0]  # each start of two processes costs seconds
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    overrides = words(data(domain), f"tracking.uri={uri}")
    quiet, run = together(domain), tmp_path / "killed" / f"{domain}-smoke"
    ended = two_processes(domain, overrides, tmp_path / "killed", die_at=13)
    assert ended.returncode != 0 and "SIGKILL" in ended.stderr
    assert curves(run)[-1][0] == 13
    assert "step-00000013-1.safetensors" in snapshots(run)
    ended = two_processes(domain, overrides, tmp_path / "killed", "--resume")
    assert ended.returncode == 0, ended.stderr
    assert curves(run) == curves(quiet)
    assert len(snapshots(quiet)) == 2 * AVERAGES
    assert snapshots(run) == snapshots(quiet)
    for weights in ("model", "ema", "optimizer", "averages"):
        file = f"checkpoints/step-{STEPS:08d}/{weights}.safetensors"
        assert (run / file).read_bytes() == (quiet / file).read_bytes()
    history = Store(uri).client.get_metric_history(read_run(run)["run_id"], "train/loss")
    assert [(point.step, point.value) for point in history] == list(enumerate(losses(quiet), 1))


@every_domain
def test_sigterm_saves_and_stops_and_the_resumed_run_is_the_undisturbed_one(domain, data, alone, tmp_path):
    asked = experiment(domain, data(domain))

    def stop_at_seven(step, total, note):
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    run = train(asked, tmp_path, device="cpu", progress=stop_at_seven)
    assert signal.getsignal(signal.SIGTERM) is before
    assert statuses(run)[-1] == "KILLED"
    assert (run / "checkpoints" / "latest").read_text().split("-")[-1].strip().lstrip("0") == "7"
    assert [step for step, name, _ in curves(run) if name == "train/loss"] == list(range(1, 8))
    train(asked, tmp_path, resume=True, device="cpu")
    assert statuses(run)[-1] == "FINISHED"
    assert curves(run) == curves(alone(domain))
    assert snapshots(run) == snapshots(alone(domain))
    with pytest.raises(InputError, match="started with training.learning_rate=0.001, not 0.002.*resume with its own"):
        train(experiment(domain, data(domain), "training.learning_rate=2e-3"), tmp_path, resume=True, device="cpu")
    with pytest.raises(InputError, match=r"holds a run already: continue it"):
        train(asked, tmp_path, device="cpu")
    assert curves(run) == curves(alone(domain))


def test_a_longer_training_may_be_asked_for_on_resume(data, tmp_path):
    domain = list_domains()[-1]
    short = experiment(domain, data(domain), "training.steps=10")
    run = train(short, tmp_path, device="cpu")
    train(experiment(domain, data(domain)), tmp_path, resume=True, device="cpu")
    assert len(losses(run)) == STEPS
    assert open_run(run).experiment.training.steps == STEPS


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("network.multipliers=[1,2,2,2,2,2,2]", "network: .*(divisible|unknown option .multipliers.)"),
        ("network.kind=no_such", "no_such"),
        ("diffusion.s_min=1e9", "s_min=1e.09 must lie below"),
        ("tracking.uri=htp://x", "tracking URI 'htp://x' is not usable"),
        ("split.train=0.9", "sum to 1"),
    ],
)
@every_domain
def test_what_cannot_be_trained_leaves_no_run_and_its_name_free(domain, override, message, data, tmp_path):
    runs = tmp_path / "runs"
    with pytest.raises(InputError, match=message):
        train(experiment(domain, data(domain), override), runs, device="cpu")
    assert not (runs / f"{domain}-smoke").exists()


def test_files_of_others_in_the_folder_of_a_refused_run_stay(data, tmp_path):
    domain = list_domains()[0]
    mine = tmp_path / f"{domain}-smoke" / "data" / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(InputError):
        train(experiment(domain, data(domain), "network.kind=no_such"), tmp_path, device="cpu")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [mine]


def test_an_automatic_precision_is_chosen_once_kept_on_resume_and_shown(data, tmp_path, monkeypatch):
    domain, choices = list_domains()[0], iter(["bfloat16"])  # a second choice would raise
    monkeypatch.setattr("physgen.stages.training_setup.fitting_precision", lambda network, device: next(choices))
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    short = "training.steps=10"
    run = train(experiment(domain, data(domain), f"tracking.uri={uri}", short), tmp_path, device="cpu")
    assert read_json(run / "precision.json") == {"precision": "bfloat16", "device": "cpu"}
    half = experiment(domain, data(domain), "training.precision=bfloat16", short, f"name={domain}-half")
    half = train(half, tmp_path, device="cpu")
    assert losses(run) == losses(half)
    assert not (half / "precision.json").exists()
    train(experiment(domain, data(domain), f"tracking.uri={uri}"), tmp_path, resume=True, device="cpu")
    assert Store(uri).client.get_run(read_run(run)["run_id"]).data.params["launch.precision"] == "bfloat16"
