r"""Training without equilibrium data: what it brings for a CPU second, beside training on data whose cost is counted.

``python -m benchmarks.without_data [CPU seconds of each training] [seed]`` trains one network (message passing, 6
layers of width 32) on three-dimensional Gaussian glasses, tori of 4^3 spins, T = 1.1 to 2.5, in the ways named below,
each for the same CPU time of one thread, and prints the path divergence (nats a site, 64 even levels) on glasses that
none has seen.

- *data, ...*: parallel tempering, its CPU time taken from that of the training; denoised towards the configuration, the
  conditional mean, or the mean along 16 heat-bath sweeps of the law given y.
- *own paths*: :class:`physgen.diffusion.learning.PathVariance`, from random weights.
- *annealing*: from the network's own paths, resampled by their weights, from the hottest temperature down; what was
  drawn joins what it learns from (means along 16 sweeps).
- *data, then ...*: the first three quarters of the time on data, the rest as said.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from physgen.config import load_config
from physgen.diffusion.inference.paired_kernel import PairedMixture
from physgen.diffusion.inference.path_weights import weighted_sample
from physgen.diffusion.inference.weight_statistics import resample, summarise_weights
from physgen.diffusion.learning import (
    ConditionalMeanLoss,
    LogNormal,
    PathVariance,
    Recipe,
    SpinDenoiser,
    TrainingState,
    train,
)
from physgen.diffusion.learning.training import DenoisingLoss
from physgen.diffusion.levels import log_uniform
from physgen.domains.spins.encoding import conditions
from physgen.domains.spins.posterior_sweeps import PosteriorSweeps
from physgen.domains.spins.target import conditional_mean, log_boltzmann_given
from physgen.networks import MessagePassing
from physgen.stages.data import simulate_ensemble

TEMPERATURES = (1.1, 1.25, 1.4, 1.6, 1.8, 2.1, 2.5)
LEVELS = log_uniform(10.0, 0.2, 64)
COARSE = log_uniform(10.0, 0.2, 24)
LENGTH, SITES, BATCH, RATE = 4, 64, 64, 2e-3
Condition = Mapping[str, Tensor]
Loss = Callable[[nn.Module], nn.Module]


@dataclass(frozen=True)
class Data:
    """Configurations with their conditions, and the CPU seconds that they took."""

    x: Tensor
    condition: Condition
    seconds: float


def glasses(instances: int, seed: int, sweeps: int = 4000) -> Data:
    """Glasses at all temperatures, 16 configurations of parallel tempering each."""
    words = {
        "data.length": LENGTH, "data.instances": instances, "data.replicas": 16, "data.sweeps": sweeps, "seed": seed,
        "data.temperatures": [f"{t} J" for t in TEMPERATURES], "data.hottest": "3 J",
    }  # fmt: skip
    experiment = load_config("configs/spins/ea3d.yaml", [f"{key}={json.dumps(value)}" for key, value in words.items()])
    before = time.process_time()
    made = simulate_ensemble(experiment)
    x = torch.tensor(made["field"].values.reshape(-1, 1, *[LENGTH] * 3), dtype=torch.float32)
    return Data(x, {name: value.float() for name, value in conditions(made).items()}, time.process_time() - before)


class Trained:
    """A training that is stopped by the clock of its process."""

    def __init__(self, budget: float, seed: int) -> None:
        torch.manual_seed(seed)
        self.denoiser = SpinDenoiser(MessagePassing(3, labels=1, width=32, depth=6))
        self.seed, self.left, self.steps = seed, budget, 0
        self.ema: nn.Module = self.denoiser

    def learn(self, loss: Loss, data: Data, seconds: float, rate: float = RATE) -> None:
        """Train for so data CPU seconds of what is left."""
        seconds = min(seconds, self.left)
        begun = time.process_time()
        cost = self._cost(loss, data)
        steps = max(1, round(0.97 * (seconds - (time.process_time() - begun)) / cost))
        state = self._state(loss, steps, rate)
        for _ in train(state, data.x, data.condition):
            if time.process_time() - begun > seconds:
                break
        self.ema, self.steps = state.ema, self.steps + state.step
        self.denoiser.load_state_dict(state.ema.state_dict())
        self.left -= time.process_time() - begun

    def spend(self, begun: float) -> None:
        """Take what was spent since ``begun`` off what is left."""
        self.left -= time.process_time() - begun

    def _state(self, loss: Loss, steps: int, rate: float) -> TrainingState:
        levels = LogNormal(0.8, 0.8)
        recipe = Recipe(steps, BATCH, rate, self.seed, levels, warmup=min(50, 1 + steps // 5))
        return TrainingState(self.denoiser, recipe, loss=loss)

    def _cost(self, loss: Loss, data: Data) -> float:
        """CPU seconds of a step, of a copy that is thrown away."""
        kept = copy.deepcopy(self.denoiser)
        pilot = train(self._state(loss, 4, RATE), data.x, data.condition)
        next(pilot)
        begun = time.process_time()
        count = sum(1 for _ in pilot)
        self.denoiser = kept
        return (time.process_time() - begun) / count


def own_paths(denoiser: nn.Module) -> PathVariance:
    """The loss without data."""
    return PathVariance(denoiser, (PairedMixture(), "bernoulli"), COARSE, log_boltzmann_given)


def towards(target: Callable[..., Tensor]) -> Loss:
    """Denoising towards a mean."""
    return lambda denoiser: ConditionalMeanLoss(denoiser, target)


SWEPT = towards(PosteriorSweeps(16))


def rows_at(data: Data, temperature: float) -> Tensor:
    """First rows of each glass at a temperature, one in 16 of those there."""
    number = TEMPERATURES.index(temperature)
    return torch.arange(len(data.x)).reshape(-1, len(TEMPERATURES), 16)[:, number, 0]


def drawn(denoiser: nn.Module, data: Data, row: int, count: int, levels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Paths of one law and their log-weights."""
    given = {name: value[row : row + 1].expand(count, *value.shape[1:]) for name, value in data.condition.items()}
    one = {name: value[:1] for name, value in given.items()}
    made = weighted_sample(
        denoiser, PairedMixture(), levels, (count, *data.x.shape[1:]), seed, lambda x: log_boltzmann_given(x, one),
        readout="bernoulli", condition=given,
    )  # fmt: skip
    return made.x, made.log_weight


def annealed(trained: Trained, data: Data, paths: int = 24, kept: int = 12, laws: int = 24) -> None:
    """From own paths, resampled by their weights, one temperature after the other."""
    pieces: list[tuple[Tensor, Tensor]] = []
    share = trained.left / len(TEMPERATURES)
    for step, temperature in enumerate(reversed(TEMPERATURES)):
        begun = time.process_time()
        rows = rows_at(data, temperature)
        picked = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(step))[:laws]]
        for row in picked.tolist():
            x, log_weight = drawn(trained.denoiser, data, row, paths, COARSE, trained.seed + row)
            pieces.append((x[resample(log_weight, kept, trained.seed + row)], torch.full((kept,), row)))
        trained.spend(begun)
        x, rows = (torch.cat(values) for values in zip(*pieces, strict=True))
        own = Data(x, {name: value[rows] for name, value in data.condition.items()}, 0.0)
        trained.learn(SWEPT, own, share - (time.process_time() - begun))


def found(trained: Trained, unseen: Data, draws: int = 64) -> tuple[float, float, float]:
    """Path divergence, nats a site, its error over glasses, and the mean share of the draws that counts, at T = 1.1."""
    said = [
        summarise_weights(drawn(trained.ema, unseen, row, draws, LEVELS, 7000 + row)[1])
        for row in rows_at(unseen, TEMPERATURES[0]).tolist()
    ]
    values = torch.tensor([one.path_KL / SITES for one in said])
    fraction = sum(one.effective_fraction for one in said) / len(said)
    return float(values.mean()), float(values.std() / len(said) ** 0.5), fraction


def ways(budget: float, seed: int) -> Iterator[tuple[str, Trained]]:
    """Each way, trained."""
    data = glasses(60, seed + 1)
    for name, loss in (
        ("data, configurations", DenoisingLoss),
        ("data, conditional means", towards(conditional_mean)),
        ("data, means along 16 sweeps", SWEPT),
    ):
        made = Trained(budget, seed)
        made.left -= data.seconds
        made.learn(loss, data, made.left)
        yield name, made
    made = Trained(budget, seed)
    made.learn(own_paths, data, budget)
    yield "own paths", made
    made = Trained(budget, seed)
    annealed(made, data)
    yield "annealing from own paths", made
    for name, loss in (("means again", SWEPT), ("own paths", own_paths)):
        made = Trained(budget, seed)
        made.left -= data.seconds
        made.learn(SWEPT, data, 0.75 * budget - data.seconds)
        made.learn(loss, data, made.left, rate=RATE / 4)
        yield f"data, then {name}", made


def main(words: list[str]) -> int:
    """Print the table."""
    torch.set_num_threads(1)
    budget, seed = float(words[0]) if words else 120.0, int(words[1]) if len(words) > 1 else 0
    glasses(2, 5)  # compiles
    unseen = glasses(8, 977)
    print(f"{budget:g} CPU seconds each, seed {seed}, torch {torch.__version__}\n")
    print("| way | steps | D, nats a site | draws that count |\n|---|---|---|---|")
    untrained = Trained(0, seed)
    value, error, fraction = found(untrained, unseen)
    print(f"| untrained | 0 | {value:.4f}({error:.4f}) | {fraction:.2f} |", flush=True)
    for name, made in ways(budget, seed):
        value, error, fraction = found(made, unseen)
        print(f"| {name} | {made.steps} | {value:.4f}({error:.4f}) | {fraction:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
