"""What is trained: contrastive divergence with persistent chains, and the score of an energy by denoising."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.energies import laws
from physgen.diffusion.energy import ContrastiveDivergence, EnergyAtLevel, GradientFlips, Langevin, SiteFlips
from physgen.diffusion.energy.moves import Move
from physgen.diffusion.learning import EnergyDenoiser, LogUniform, Recipe, TrainingState, train
from physgen.networks import DenseEnergy, LocalEnergy

SEEDS = (0, 1, 2)


@dataclass(frozen=True, eq=False)
class Plan:
    """One way to train on one law.

    Attributes:
        law: "curie_weiss" or "phi4". network: makes it. recipe: arguments of Recipe. move: of the chains, None for
            denoising. steps: of the chains for each update. level: s at which the energy is read.
        penalty: of :class:`ContrastiveDivergence`.
    """

    law: str
    network: Callable[[], nn.Module]
    recipe: dict
    move: Move | None = None
    steps: int = 1
    level: float = 1.0
    penalty: float = 0.0

    @property
    def values(self) -> int:
        return laws.SPINS if self.law == "curie_weiss" else laws.SIDE**2


DENOISING = {"batch_size": 64, "learning_rate": 5e-3, "warmup": 30}
CONTRASTIVE = {"batch_size": 512, "warmup": 20, "clip_norm": 10.0}
PLANS = {
    "pairs": Plan(
        "curie_weiss", lambda: DenseEnergy(32, layers=0), CONTRASTIVE | {"steps": 600, "learning_rate": 3e-2},
        SiteFlips(updates=8),
    ),
    "pairs, by gradient": Plan(
        "curie_weiss", lambda: DenseEnergy(32, layers=0), CONTRASTIVE | {"steps": 600, "learning_rate": 3e-2},
        GradientFlips(updates=8),
    ),
    "pairs + network": Plan(
        "curie_weiss", lambda: DenseEnergy(32, width=32), CONTRASTIVE | {"steps": 600, "learning_rate": 5e-3},
        SiteFlips(updates=8),
    ),
    "network": Plan(
        "curie_weiss", lambda: DenseEnergy(32, pairs=False), CONTRASTIVE | {"steps": 600, "learning_rate": 2e-3},
        SiteFlips(updates=8), penalty=0.01,
    ),
    "score": Plan(
        "curie_weiss", lambda: DenseEnergy(32),
        DENOISING | {"steps": 1500, "batch_size": 256, "level_distribution": LogUniform(0.2, 8.0)},
    ),
    "local": Plan(
        "phi4", lambda: LocalEnergy(2, width=8),
        CONTRASTIVE | {"batch_size": 128, "steps": 400, "learning_rate": 5e-3}, Langevin(), steps=4, level=0.1,
    ),
    "local, score": Plan(
        "phi4", lambda: LocalEnergy(2, width=16, reach=5),
        DENOISING | {"steps": 600, "level_distribution": LogUniform(0.05, 5.0)}, level=0.1,
    ),
}  # fmt: skip


def trained(name: str, seed: int, data: Tensor) -> tuple[nn.Module, float]:
    """The averaged model, made once and kept, and the CPU seconds of its training."""
    plan, file = PLANS[name], laws.FOLDER / f"{name.replace(' ', '')}-{seed}.pt"
    torch.manual_seed(seed)
    denoiser = EnergyDenoiser(plan.network())
    if not file.exists():
        began = time.process_time()
        state = TrainingState(
            denoiser, Recipe(seed=seed, **plan.recipe), None if plan.move is None else wrap(plan, data)
        )
        for step in train(state, data):
            if step.step % 200 == 0:
                print(f"{name} {seed}: {step.step}, loss {step.loss:.4f}", flush=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"model": state.ema.state_dict(), "seconds": time.process_time() - began}, file)
    kept = torch.load(file)
    denoiser.load_state_dict(kept["model"])
    return denoiser.eval().requires_grad_(False), kept["seconds"]


def wrap(plan: Plan, data: Tensor) -> Callable[[nn.Module], nn.Module]:
    """The loss of a plan in the place of denoising; its chains begin at data."""

    def made(loss: nn.Module) -> nn.Module:
        chains = data[: plan.recipe["batch_size"]]
        return ContrastiveDivergence(
            loss.denoiser, plan.move, chains, level=plan.level, noisy=False, steps=plan.steps, penalty=plan.penalty
        )

    return made


def energy(name: str, denoiser: nn.Module, level: float | None = None) -> nn.Module:
    """E(x) of a model at the level of its plan, or at another one."""
    return EnergyAtLevel(denoiser, level or PLANS[name].level)


if __name__ == "__main__":  # python -m benchmarks.energies.models LAW SEED ...: trainings alone
    torch.set_num_threads(1)
    known = getattr(laws, sys.argv[1])()
    for number in sys.argv[2:]:
        for one, plan in PLANS.items():
            if plan.law == sys.argv[1]:
                print(one, number, trained(one, int(number), known.train)[1], flush=True)
