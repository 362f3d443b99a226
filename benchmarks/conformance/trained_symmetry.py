"""Symmetries of trained denoisers: how far D(gy) is from g D(y), beside the spread of D and its own denoising error.

Three short trainings of 150 steps each, on laws with exact draws and all the symmetries; figures are means over them,
error bars their standard error. Weights are the running average; noise level s in units of the standard deviation of
the data.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.conformance.row import Row
from physgen.diffusion.exact import GaussianField, IsingStrip
from physgen.diffusion.learning.denoisers import FieldDenoiser, SpinDenoiser
from physgen.diffusion.learning.training import Recipe, TrainingState, train
from physgen.diffusion.symmetry import SPIN_FLIP, GroupAverage
from physgen.lattice import Draws, Symmetry, point_group, random_moves, translations
from physgen.networks.unet import UNet

SEEDS, STEPS, HELD_OUT = 3, 150, 32
ROUNDING = 1e-5  # float32
MOVES = {
    "shift by one site": Symmetry(shift=(0, 1)),
    "rotation by 90 degrees": Symmetry(axes=(1, 0), mirrored=(1,)),
    "reflection": Symmetry(mirrored=(1,)),
}


def rows() -> Iterator[Row]:
    generator = torch.Generator().manual_seed(0)
    x = lognormal_fields(1024 + HELD_OUT, generator)
    trained = [_train(FieldDenoiser, (1, 2, 3), x[:1024], n) for n in range(SEEDS)]
    for s in (0.3, 1.0):
        yield from _fields(trained, x[1024:], s)
    couplings = torch.ones(2, 8, 8, dtype=torch.float64)
    couplings[0, -1] = 0
    spins = IsingStrip(couplings, beta=0.4).sample(1024 + HELD_OUT, generator).float()
    trained = [_train(SpinDenoiser, (1, 2), spins[:1024], n) for n in range(SEEDS)]
    for s in (0.7, 1.5):
        name = f"Ising strip 8x8, s = {s}: U-Net of 2 levels: spin flip"
        yield _error_row(name, trained, spins[1024:], s, SPIN_FLIP[1])
        averages = [GroupAverage(denoiser, SPIN_FLIP) for denoiser in trained]
        yield _error_row(f"{name}, averaged over it", averages, spins[1024:], s, SPIN_FLIP[1], ROUNDING)
        yield _gain_row(f"{name}, averaged over it", averages, trained, spins[1024:], s, bound=True)


def lognormal_fields(count: int, generator: torch.Generator) -> Tensor:
    """(count, 1, 32, 32), independent, of unit variance, with a steep spectrum."""
    k = 2 * math.pi * torch.fft.fftfreq(32, dtype=torch.float64)
    power = (0.1 + (k[:, None] ** 2 + k**2).sqrt()) ** -2.5
    field = GaussianField((power / power.mean())[None])
    x = (field.sample(count, generator).exp() - math.exp(0.5)).float()
    return x / (math.exp(0.5) * math.sqrt(math.e - 1))


def _fields(trained: list[nn.Module], x: Tensor, s: float) -> Iterator[Row]:
    place = f"lognormal 32x32, s = {s}: U-Net of 3 levels"
    for move, g in MOVES.items():
        yield _error_row(f"{place}: {move}", trained, x, s, g)
    for name, group, move in (
        ("16 shifts", translations((4, 4)), "shift by one site"),
        ("point group", point_group((32, 32)), "rotation by 90 degrees"),
    ):
        averages = [GroupAverage(denoiser, group) for denoiser in trained]
        yield _error_row(f"{place} averaged over {name}: {move}", averages, x, s, MOVES[move], ROUNDING)
        yield _gain_row(f"{place} averaged over {name}", averages, trained, x, s, bound=True)
    undecimated = [_undecimated(denoiser) for denoiser in trained]
    name = f"{place}, its weights undecimated"
    yield _error_row(f"{name}: shift by one site", undecimated, x, s, MOVES["shift by one site"], ROUNDING)
    yield _gain_row(name, undecimated, trained, x, s, bound=False)


def _train(make: type[nn.Module], multipliers: tuple[int, ...], x: Tensor, seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        denoiser = make(UNet(2, width=16, multipliers=multipliers))
    recipe = Recipe(STEPS, batch_size=16, learning_rate=2e-3, seed=seed, warmup=30)
    # the strip has ends: no translation, no turn; both signs are in the data
    return train_denoiser(denoiser, x, recipe, turned=make is FieldDenoiser)


def train_denoiser(denoiser: nn.Module, x: Tensor, recipe: Recipe, turned: bool) -> nn.Module:
    """The running average of the weights after a training, on fields shifted and turned at random if asked for."""

    def augment(batch: Tensor, condition: dict, draws: Draws) -> tuple[Tensor, dict]:
        return random_moves(batch.shape[2:], draws).move(batch), condition

    state = TrainingState(denoiser, recipe)
    for _ in train(state, x, augment=augment if turned else None):
        pass
    return state.ema


def _undecimated(denoiser: FieldDenoiser) -> FieldDenoiser:
    network = UNet(2, width=16, multipliers=(1, 2, 3), undecimated=True)
    network.load_state_dict(denoiser.network.state_dict())
    return FieldDenoiser(network).eval()


@torch.no_grad()
def _call(denoiser: Callable[..., Tensor], x: Tensor, s: float, g: Symmetry | None = None) -> Tensor:
    """D at the noisy x, moved by g where given, always with the same noise."""
    y = x + s * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    return denoiser(y if g is None else g(y), torch.full((len(x),), s))


def _root(x: Tensor) -> float:
    return float(x.double().square().mean().sqrt())


def _mean(values: list[float]) -> tuple[float, float]:
    found = torch.tensor(values, dtype=torch.float64)
    return float(found.mean()), float(found.std()) / math.sqrt(len(found))


def _error_row(
    name: str, denoisers: list[nn.Module], x: Tensor, s: float, g: Symmetry, bound: float | None = None
) -> Row:
    relative, of_error = [], []
    for denoiser in denoisers:
        plain = _call(denoiser, x, s)
        gap = _root(_call(denoiser, x, s, g) - g(plain))
        relative.append(gap / float(plain.double().std()))
        of_error.append(gap / _root(plain - x))
    (value, error), (share, share_error) = _mean(relative), _mean(of_error)
    law = "D(gy) = gD(y), in units of the spread of D"
    cost = f"{share:.2g} +- {share_error:.1g} of its denoising error"
    return Row("trained symmetry", name, law, value, 0.0, error, None if bound is None else value < bound, cost=cost)


def _gain_row(name: str, changed: list[nn.Module], trained: list[nn.Module], x: Tensor, s: float, bound: bool) -> Row:
    """Denoising loss over that of the trained denoisers at the same noise; ``bound``: claimed not to exceed 1."""
    ratios = [
        (_root(_call(new, x, s) - x) / _root(_call(old, x, s) - x)) ** 2
        for new, old in zip(changed, trained, strict=True)
    ]
    value, error = _mean(ratios)
    law = "denoising loss, in units of the denoiser's own" + (", at most 1" if bound else "")
    passed = value < 1 + 2 * error if bound else None
    return Row("trained symmetry", f"{name}: loss", law, value, 1.0, error, passed, cost=f"{SEEDS} trainings")
