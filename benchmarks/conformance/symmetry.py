"""Symmetries of the networks with random weights: exact where they are built in, measured and stated where not."""

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.conformance.row import Row
from physgen.diffusion.symmetry import SPIN_FLIP, GroupAverage
from physgen.lattice import point_group, translations
from physgen.networks.message_passing import MessagePassing
from physgen.networks.unet import UNet

EXACT = 1e-12  # float64, some hundred operations


def rows() -> Iterator[Row]:
    generator = torch.Generator().manual_seed(5)
    field = torch.randn(4, 1, 32, 32, generator=generator, dtype=torch.float64)
    noise = torch.zeros(4, dtype=torch.float64)
    moves: dict[str, Callable[[Tensor], Tensor]] = {
        "shift by one site": lambda x: x.roll(1, -1),
        "shift by the total stride, 4 sites": lambda x: x.roll(4, -1),
        "rotation by 90 degrees": lambda x: x.rot90(1, (-2, -1)),
        "sign flip": lambda x: -x,
    }
    for name, options in (
        ("U-Net of 3 levels", {"multipliers": (1, 2, 3)}),
        ("U-Net of 1 level", {"multipliers": (2,)}),
        ("undecimated U-Net of 3 levels", {"multipliers": (1, 2, 3), "undecimated": True}),
    ):
        network = _random(UNet(2, width=16, **options), generator)
        claimed = {"shift by the total stride, 4 sites"} | ({"shift by one site"} if network.stride == 1 else set())
        for move, act in moves.items():
            error = _error(lambda x, net=network: net(x, noise, None), field, act)
            yield _row(name, move, error, move in claimed)
        if network.stride == 1:
            worst = max(
                _error(lambda x, net=network: net(x, noise[:1], None), field[:1], lambda x, n=n: x.roll(n, (2, 3)))
                for n in itertools.product(range(4), repeat=2)
            )
            yield _row(name, "worst of the 16 shifts by 0 to 3 sites", worst, True)
    yield from _averages(generator, field[:1, :, :16, :16])
    yield from _bonds(generator)


def _averages(generator: torch.Generator, field: Tensor) -> Iterator[Row]:
    """The decimated U-Net averaged over groups, as a denoiser."""
    network = _random(UNet(2, width=16, multipliers=(1, 2, 3)), generator)
    level = torch.ones(1, dtype=torch.float64)
    groups = {
        "the 16 shifts below the stride": translations((4, 4)),
        "the point group": point_group((16, 16)),
        "the spin flip": SPIN_FLIP,
    }
    for name, group in groups.items():
        average = GroupAverage(lambda y, s, condition=None: network(y, s.log() / 4), group)
        error = max(_error(lambda y, d=average: d(y, level), field, g) for g in group)
        yield _row(f"U-Net of 3 levels averaged over {name}", "worst of the group", error, True, f"{len(group)} times")


def _bonds(generator: torch.Generator) -> Iterator[Row]:
    """Message passing on beta J: translation of spins and bonds together, global flip, gauge."""
    network = _random(MessagePassing(2, condition_channels=4, width=16), generator)
    spins = torch.randn(4, 1, 8, 8, generator=generator, dtype=torch.float64)
    forward = torch.randn(4, 2, 8, 8, generator=generator, dtype=torch.float64)
    noise = torch.zeros(4, dtype=torch.float64)
    signs = torch.randint(0, 2, (4, 1, 8, 8), generator=generator).double() * 2 - 1

    def bonds(j: Tensor) -> Tensor:
        return torch.stack([b for a in (0, 1) for b in (j[:, a], j[:, a].roll(1, a + 1))], dim=1)

    def call(x: Tensor, j: Tensor) -> Tensor:
        return network(x, noise, {"channels": bonds(j)})

    gauged = torch.stack([forward[:, a] * signs[:, 0] * signs[:, 0].roll(-1, a + 1) for a in (0, 1)], dim=1)
    plain = call(spins, forward)
    shifted = call(spins.roll(1, -1), forward.roll(1, -1))
    for move, found, wanted in (
        ("shift by one site, bonds along", shifted, plain.roll(1, -1)),
        ("global spin flip", call(-spins, forward), -plain),
        ("gauge transformation of spins and bonds", call(signs * spins, gauged), signs * plain),
    ):
        yield _row("message passing", move, float((found - wanted).square().mean().sqrt() / plain.std()), True)


def _random(network: nn.Module, generator: torch.Generator) -> nn.Module:
    """The network in float64 with its zero layers filled, so that no symmetry holds because the output is zero."""
    for parameter in network.double().parameters():
        if parameter.ndim > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.1, generator=generator)
    return network.eval().requires_grad_(False)


def _error(network: Callable[[Tensor], Tensor], x: Tensor, act: Callable[[Tensor], Tensor]) -> float:
    """Root mean square of F(gx) - gF(x), over the scatter of F."""
    plain = network(x)
    return float((network(act(x)) - act(plain)).square().mean().sqrt() / plain.std())


def _row(name: str, move: str, error: float, claimed: bool, cost: str = "random weights") -> Row:
    law = "F(gx) = gF(x), built in" if claimed else "F(gx) = gF(x), not built in: learned from augmentation"
    kept = error < EXACT if claimed else None
    return Row("symmetry", f"{name}: {move}", law, error, 0.0, EXACT, kept, cost=cost)
