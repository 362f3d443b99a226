"""Symmetries of the networks with random weights: exact where they are built in, measured and stated where not."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.conformance.row import Row
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
    for name, multipliers in (("U-Net of 3 levels", (1, 2, 3)), ("U-Net of 1 level", (2,))):
        network = _random(UNet(2, width=16, multipliers=multipliers), generator)
        claimed = {"shift by the total stride, 4 sites"} | ({"shift by one site"} if len(multipliers) == 1 else set())
        for move, act in moves.items():
            error = _error(lambda x, net=network: net(x, noise, None), field, act)
            yield _row(name, move, error, move in claimed)
    yield from _bonds(generator)


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


def _row(name: str, move: str, error: float, claimed: bool) -> Row:
    law = "F(gx) = gF(x), built in" if claimed else "F(gx) = gF(x), not built in: learned from augmentation"
    kept = error < EXACT if claimed else None
    return Row("symmetry", f"{name}: {move}", law, error, 0.0, EXACT, kept, cost="random weights")
