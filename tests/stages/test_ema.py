"""Post-hoc EMA of any width after a real training: checked against the weights of each step, refused where poor."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from physgen.cli import main
from physgen.config import load_config
from physgen.diffusion.learning.ema import exponent_of, synthesis_coefficients, synthesize
from physgen.domains.contract import list_domains
from physgen.ensemble import load_ensemble
from physgen.errors import InputError
from physgen.stages import DrawOptions, sample, simulate, train
from physgen.stages.ema import WORST_RESIDUAL, WidthLoss, best_width, compare_widths, read_average, snapshot_steps
from physgen.storage.weights import drop_snapshots, read_snapshots

ROOT = Path(__file__).resolve().parents[2]
DOMAIN = list_domains()[0]
STEPS, TIMES = 20, 20
CONFIG = ROOT / "configs" / DOMAIN / "smoke.yaml"


def trained(folder, width):
    """A run whose own average has the relative width, with a checkpoint of every step."""
    words = ["tracking.uri=off", f"training.averages={TIMES}", f"training.ema_exponent={exponent_of(width)}"]
    every = ["training.checkpoint_every=1", f"training.keep_checkpoints={STEPS}", f"dataset={folder / 'data.h5'}"]
    config = load_config(CONFIG, [*words, *every])
    if not (folder / "data.h5").exists():
        simulate(config, folder / "data.h5")
    return train(config, folder / f"runs-{width}", device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("averages")


@pytest.fixture(scope="module")
def run(folder):
    return trained(folder, 0.15)


def flat(weights, names):
    return torch.cat([weights[name].double().flatten() for name in names])


@pytest.mark.parametrize("width", [0.10, 0.15])
def test_an_average_made_afterwards_is_the_running_one_within_the_residual(width, folder, run):
    r"""For the profile q made for p: :math:`|\int (q - p)(\theta - c)| \le r |p| |\theta - c|`, in each parameter."""
    run = run if width == 0.15 else trained(folder, width)
    snapshots, facts = read_average(run, width)
    names = sorted(snapshots[0].weights)
    own = flat(load_file(run / "model" / "weights.safetensors"), names)
    every = [load_file(run / f"checkpoints/step-{step:08d}/model.safetensors") for step in range(1, STEPS + 1)]
    course = torch.stack([flat({k.removeprefix("model/"): v for k, v in w.items()}, names) for w in every])
    made = flat(synthesize(snapshots, width)[0], names)
    shares, residual = synthesis_coefficients(snapshots, width)
    assert residual == facts.residual and facts.update == STEPS and facts.snapshots == 2 * TIMES
    gamma = exponent_of(width)
    norm = (gamma + 1) / math.sqrt((2 * gamma + 1) * STEPS)
    bound = residual * norm * (course - own).square().sum(0).sqrt()
    rounding = 2 * torch.finfo(torch.float32).eps * STEPS * (1 + shares.abs().sum()) * course.abs().amax(0)
    missed = (made - shares.sum() * own).abs()
    assert (missed <= bound + rounding).all()
    other = flat(synthesize(snapshots, 0.05)[0], names)
    assert (other - own).norm() > 5 * (bound + rounding).norm()  # the bound tells widths apart


def test_snapshots_stand_at_evenly_spread_steps(run):
    assert snapshot_steps(20, 6) == [3, 7, 10, 13, 17, 20]
    found = read_snapshots(run / "averages")
    assert [s.step for s in found[::2]] == [s.step for s in found[1::2]] == list(range(1, STEPS + 1))
    assert [s.metadata["update"] for s in found] == [s.step for s in found]  # no step was skipped
    assert {s.metadata["exponent"] for s in found} == {exponent_of(0.05), exponent_of(0.10)}
    assert not list((run / "averages").glob(".*"))


def test_the_command_draws_with_the_average_and_records_its_residual(run, tmp_path, capsys):
    new, same, own = (tmp_path / f"{name}.h5" for name in ("new", "same", "own"))
    assert main(["sample", str(run), "-n", "4", "-o", str(new), "--device", "cpu", "--average", "0.06"]) == 0
    said = capsys.readouterr().out
    made = load_ensemble(new)
    facts = read_average(run, 0.06)[1]
    assert made.attrs["average_width"] == 0.06 and made.attrs["average_update"] == STEPS
    assert made.attrs["average_residual"] == facts.residual
    assert f"from {2 * TIMES} snapshots; residual of its profile {facts.residual:.2g}" in said
    # the run's own width gives the run's own configurations, up to the residual; another width does not
    sample(run, same, DrawOptions(n=4, average=0.15), "cpu")
    sample(run, own, DrawOptions(n=4), "cpu")
    expected = load_ensemble(own)
    assert "average_width" not in expected.attrs
    off = [float(abs(e.field - expected.field).max()) for e in (load_ensemble(same), made)]
    assert off[0] < 0.2 * off[1]


@pytest.mark.parametrize(
    ("width", "value", "remedy"),
    [
        ("0.5", "(0, 0.2887], got 0.5", "choose one"),
        ("0", "(0, 0.2887], got 0", "choose one"),
        ("nan", "(0, 0.2887], got nan", "choose one"),
        ("0.2886", f"at most {WORST_RESIDUAL:g} is accepted", "training.averages"),
        ("0.01", f"at most {WORST_RESIDUAL:g} is accepted", "training.averages"),
    ],
)
def test_a_poor_average_is_refused(width, value, remedy, run, tmp_path, capsys):
    output = tmp_path / "new.h5"
    assert main(["sample", str(run), "-o", str(output), "--device", "cpu", "--average", width]) == 2
    said = capsys.readouterr()
    assert f"EMA of width {width}" in said.err and value in said.err and remedy in said.err
    assert said.err.count("physgen sample: ") == 1 and not output.exists()


def test_a_flipped_bit_is_found_and_later_snapshots_are_taken_back(run, tmp_path):
    for path in (run / "averages").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / ".step-00000014-0.safetensors.123.tmp").write_bytes(b"half")
    drop_snapshots(tmp_path, after=13)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"step-{s:08d}-{n}.safetensors" for s in range(1, 14) for n in (0, 1)
    ]
    path = tmp_path / "step-00000008-1.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    with pytest.raises(InputError, match="00000008-1.safetensors does not match its sha256: copy it again, or remove"):
        read_snapshots(tmp_path)
    path.write_bytes(content[:40])
    with pytest.raises(InputError, match="00000008-1.safetensors cannot be read"):
        read_snapshots(tmp_path)


def test_the_run_that_is_compared_with_itself_comes_out_even_and_the_command_names_the_next(run, capsys):
    """The run's own average has the width 0.15; 0.14 is nearly it, a narrow one is another model."""
    found = {w.width: w for w in compare_widths(run, "cpu")}
    assert abs(found[0.14].ratio - 1) < 0.2 * abs(found[0.05].ratio - 1)
    assert all(w.error > 0 and w.residual <= WORST_RESIDUAL for w in found.values())
    assert main(["average", str(run), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    best = best_width(list(found.values()))
    assert f"next: physgen sample {run}{'' if best is None else f' --average {best:g}'} -o" in said
    assert said.count("+-") == len(found) >= 5


def test_a_width_is_the_best_only_beyond_two_errors():
    close, far = WidthLoss(0.05, 0.0, 0.98, 0.02), WidthLoss(0.2, 0.0, 0.99, 0.004)
    assert best_width([close]) is None
    assert best_width([close, far]) == 0.2
