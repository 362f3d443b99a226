"""One N-body simulation: Gaussian initial conditions, 2LPT start, FastPM kick-drift steps, particles at some redshifts.

Shapes: N particles per side, n = N^3; positions (3, n). Lengths in Mpc/h unless a name says cells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from physgen.domains.cosmology.background import (
    CosmologyParams,
    growth_factor,
    growth_rate,
    hubble_rate,
    second_order_growth,
)
from physgen.domains.cosmology.linear_power import linear_power
from physgen.domains.cosmology.mesh import (
    ParticleMesh,
    gradient_wavenumbers,
    inverse_laplacian,
    lattice_positions,
)
from physgen.lattice import wavenumbers

# attributes of the variable that pairs simulations of the same initial phases
PHASES = {"long_name": "digest of seed and initial white noise", "units": "1", "role": "pairing"}


@dataclass(frozen=True)
class SimulationBox:
    """Numerical set-up of one simulation.

    Attributes:
        box_size: side of the periodic cube, Mpc/h.
        particles: N, particles per side; the initial conditions live on the same N^3 lattice.
        mesh_factor: force mesh cells per particle spacing; 2 resolves forces to the particle Nyquist wavenumber.
        steps: kick-drift steps, equal in scale factor.
        redshift: of the final positions.
        initial_redshift: of the 2LPT start; 9 loses 1 % of the power near k_Nyq / 2 against 19.
        simulator: ``fastpm``; or a surrogate of it from the same phases: ``2lpt``, ``zeldovich`` (displacements of the
            lattice to the final redshift, no steps), ``linear`` (no particles: :func:`linear_contrast`).
    """

    box_size: float = 128.0
    particles: int = 64
    mesh_factor: float = 2.0
    steps: int = 20
    redshift: float = 0.0
    initial_redshift: float = 19.0
    simulator: str = "fastpm"

    @property
    def mesh_cells(self) -> int:
        """M, force mesh cells per side, even."""
        return 2 * round(self.mesh_factor * self.particles / 2)


def simulation_seed(seed: int, simulation: int) -> int:
    """Seed of one simulation from (seed, simulation number) alone, so that results do not depend on who computes it."""
    return int(np.random.SeedSequence([seed, simulation]).generate_state(1, np.uint64)[0] >> 1)


def given_seed(seed: int, simulation: int) -> int:
    """As :func:`simulation_seed`, of simulations under given conditions: other phases than those of the suite."""
    return int(np.random.SeedSequence([seed, simulation, 0x61E4]).generate_state(1, np.uint64)[0] >> 1)


def white_noise(particles: int, seed: int) -> torch.Tensor:
    """The unit Gaussian numbers (N, N, N) of a simulation, drawn on the CPU: a seed is one universe on every device."""
    return torch.randn((particles,) * 3, generator=torch.Generator(device="cpu").manual_seed(seed))


def phases_digest(particles: int, seed: int) -> int:
    """A number of 63 bits for the initial phases: the digest of the seed and of its white noise.

    Two simulations have the same one if and only if they started from the same numbers, whoever evolved them and how.
    """
    digest = hashlib.blake2b(seed.to_bytes(8, "little"), digest_size=8)
    digest.update(white_noise(particles, seed).numpy().tobytes())
    return int.from_bytes(digest.digest(), "little") >> 1


def linear_field(
    params: CosmologyParams, box: SimulationBox, seed: int, method: str = "eisenstein_hu", device: str = "cpu"
) -> torch.Tensor:
    r"""Fourier modes of a Gaussian field with the linear power at redshift 0; complex64 (N, N, N/2 + 1).

    Convention: :math:`\delta_k` is the unnormalised transform, :math:`\langle|\delta_k|^2\rangle = P(k) N^6 / V`.
    The phases are those of :func:`white_noise`.
    """
    n = box.particles
    modes = torch.fft.rfftn(white_noise(n, seed).to(device))
    cell = box.box_size / n
    kx, ky, kz = (k.double() / cell for k in wavenumbers((n,) * 3, dtype=torch.float32, device=device))
    k = torch.sqrt(kx**2 + ky**2 + kz**2)
    k[0, 0, 0] = k[0, 0, 1]
    power = torch.from_numpy(linear_power(k.cpu().numpy(), params, method)).to(device)
    amplitude = torch.sqrt(power / cell**3).float()
    amplitude[0, 0, 0] = 0.0  # the box has the cosmic mean density
    return modes.mul_(amplitude)


def displacements(modes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r"""First- and second-order Lagrangian displacements at D = 1, each (3, N, N, N), in cells of the lattice.

    Convention: x = q + D psi1 + D2 psi2 with psi1 = -grad phi1, laplacian(phi1) = delta, psi2 = grad phi2,
    laplacian(phi2) = sum_{i<j} (phi1,ii phi1,jj - phi1,ij^2), D2 = -(3/7) D^2 in the matter era.
    Source: Bouchet et al. 1995; Scoccimarro 1998, appendix D.
    """
    n = modes.shape[0]
    shape = (n, n, n)
    gradient = gradient_wavenumbers(n, modes.device)
    laplacian = inverse_laplacian(n, modes.device)
    k = wavenumbers(shape, dtype=torch.float32, device=modes.device)
    potential = modes * laplacian
    first = torch.stack([torch.fft.irfftn(-g * potential, s=shape) for g in gradient])

    def second_derivative(i: int, j: int) -> torch.Tensor:
        symbol = -(k[i] ** 2) if i == j else gradient[i] * gradient[j]
        return torch.fft.irfftn(symbol * potential, s=shape)

    diagonal = [second_derivative(i, i) for i in range(3)]
    source = diagonal[0] * diagonal[1] + diagonal[0] * diagonal[2] + diagonal[1] * diagonal[2]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        source -= second_derivative(i, j).square_()
    potential = torch.fft.rfftn(source).mul_(laplacian)
    second = torch.stack([torch.fft.irfftn(g * potential, s=shape) for g in gradient])
    return first, second


def _momentum_growth(scale_factor: float, Omega_m: float) -> tuple[float, float]:
    # a^3 E dD/da for both orders: momenta a^2 dx/dt in units of H0 per unit displacement field
    a = scale_factor
    first = a**2 * hubble_rate(a, Omega_m) * growth_rate(a, Omega_m) * growth_factor(a, Omega_m)
    second = a**2 * hubble_rate(a, Omega_m) * second_order_growth(a, Omega_m)[1]
    return float(first), float(second)


def evolve(modes: torch.Tensor, params: CosmologyParams, box: SimulationBox) -> torch.Tensor:
    r"""Particle positions at ``box.redshift``, (3, n) float32 in Mpc/h within [0, box_size).

    Leapfrog in the scale factor with FastPM's factors: kicks by :math:`(G(a_+) - G(a_-)) / D(a_i)`, drifts by
    :math:`(D(a_{i+1}) - D(a_i)) / G(a_+)`, :math:`G = a^3 E\, dD/da`, so that any number of steps moves the Zel'dovich
    solution exactly. The first momenta are those of 2LPT at the first half step: one force evaluation fewer than a
    half kick. Second order in the step. Source: Feng et al. 2016 (1603.00476), section 2.
    """
    (positions,) = snapshots(modes, params, box, (box.redshift,))
    return positions


def snapshots(
    modes: torch.Tensor, params: CosmologyParams, box: SimulationBox, redshifts: Sequence[float]
) -> Iterator[torch.Tensor]:
    """Positions of :func:`evolve` at several redshifts, from the highest to the lowest, of one run to ``box.redshift``.

    Those within a step are drifted from its beginning with the momenta of its middle, as the step itself is: the
    same second order in the step.
    """
    if box.simulator != "fastpm":
        for positions, _ in _displaced(modes, params, box, redshifts):
            yield positions
        return
    for moment in _moments(modes, params, box, redshifts):
        yield moment.positions.mul_(box.box_size / box.mesh_cells)


def snapshots_in_redshift_space(
    modes: torch.Tensor, params: CosmologyParams, box: SimulationBox, redshifts: Sequence[float]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    r"""The same with what velocities add to positions in redshift space along each axis: two of (3, n), Mpc/h.

    Convention: :math:`s = x + v/(aH)` along the line of sight, v the peculiar velocity, :math:`v/(aH) = (dx/dt)/H
    = p/(a^2 E)` with the momenta :math:`p = a^2\,dx/dt` in units of H0. They stand at the middle of a step and get the
    rest of their kick from the force at the snapshot: one force evaluation more for each of them. In linear theory
    s - x is f(a) times the displacement. Source: Kaiser 1987; Feng et al. 2016 (1603.00476), section 2.
    """
    if box.simulator != "fastpm":
        yield from _displaced(modes, params, box, redshifts)
        return
    per_cell, Omega_m = box.box_size / box.mesh_cells, params.Omega_m
    mesh = ParticleMesh(box.mesh_cells, modes.device)
    for moment in _moments(modes, params, box, redshifts):
        a = moment.scale_factor
        kick = (_momentum_growth(a, Omega_m)[0] - moment.kicked) / float(growth_factor(a, Omega_m))
        shifts = mesh.accelerations(moment.positions).mul_(kick).add_(moment.momenta)
        shifts.mul_(per_cell / float(a**2 * hubble_rate(a, Omega_m)))
        yield moment.positions.mul_(per_cell), shifts


class _Moment(NamedTuple):
    """Particles at one scale factor, in cells of the mesh; momenta (3, n) kicked to G = a^3 E dD/da."""

    scale_factor: float
    positions: torch.Tensor
    momenta: torch.Tensor
    kicked: float


def _moments(
    modes: torch.Tensor, params: CosmologyParams, box: SimulationBox, redshifts: Sequence[float]
) -> Iterator[_Moment]:
    """The run of :func:`snapshots`; positions are the caller's, momenta are not."""
    n, cells, Omega_m = box.particles, box.mesh_cells, params.Omega_m
    per_cell = cells / n
    first, second = (psi.reshape(3, -1).mul_(per_cell) for psi in displacements(modes))
    positions = lattice_positions(n, cells, modes.device)
    scale_factors = np.linspace(1 / (1 + box.initial_redshift), 1 / (1 + box.redshift), box.steps + 1)
    middles = 0.5 * (scale_factors[1:] + scale_factors[:-1])
    growth = [float(growth_factor(a, Omega_m)) for a in scale_factors]
    momentum = [_momentum_growth(a, Omega_m) for a in middles]
    wanted = sorted(1 / (1 + z) for z in redshifts)

    positions.add_(first, alpha=growth[0]).add_(second, alpha=float(second_order_growth(scale_factors[0], Omega_m)[0]))
    momenta = first.mul_(momentum[0][0]).add_(second, alpha=momentum[0][1])
    del second
    mesh = ParticleMesh(cells, modes.device)
    for step in range(box.steps):
        if step > 0:
            kick = (momentum[step][0] - momentum[step - 1][0]) / growth[step]
            momenta.add_(mesh.accelerations(positions), alpha=kick)
        while wanted and wanted[0] < scale_factors[step + 1] * (1 - 1e-9):
            a = wanted.pop(0)
            drift = (float(growth_factor(a, Omega_m)) - growth[step]) / momentum[step][0]
            yield _Moment(a, torch.add(positions, momenta, alpha=drift).remainder_(cells), momenta, momentum[step][0])
        positions.add_(momenta, alpha=(growth[step + 1] - growth[step]) / momentum[step][0])
        positions.remainder_(cells)
    for a in wanted:
        yield _Moment(a, positions.clone(), momenta, momentum[-1][0])


def _displaced(
    modes: torch.Tensor, params: CosmologyParams, box: SimulationBox, redshifts: Sequence[float]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """As :func:`snapshots_in_redshift_space`, by Lagrangian perturbation theory of second order or (zeldovich) first.

    What velocities add is dx/dlna: f D psi1 + dD2/dlna psi2.
    """
    n, spacing = box.particles, box.box_size / box.particles
    first, second = (psi.reshape(3, -1) for psi in displacements(modes))
    for redshift in sorted(redshifts, reverse=True):
        scale_factor = 1 / (1 + redshift)
        positions, growth = lattice_positions(n, n, modes.device), float(growth_factor(scale_factor, params.Omega_m))
        positions.add_(first, alpha=growth)
        shifts = first * (spacing * growth * float(growth_rate(scale_factor, params.Omega_m)))
        if box.simulator == "2lpt":
            amplitude, slope = second_order_growth(scale_factor, params.Omega_m)
            positions.add_(second, alpha=float(amplitude))
            shifts.add_(second, alpha=spacing * float(slope))
        yield positions.remainder_(n).mul_(spacing), shifts


def linear_contrast(modes: torch.Tensor, params: CosmologyParams, cells: int, redshift: float) -> torch.Tensor:
    """Linear density contrast at a redshift on a lattice of ``cells`` per side, float32; it may lie below -1.

    Modes beyond the smaller of the two Nyquist wavenumbers are left out.
    """
    n = modes.shape[0]
    kept = min(n, cells)
    half = (kept - 1) // 2  # waves of both signs, without the Nyquist wave of the smaller lattice
    resampled = modes.new_zeros(cells, cells, cells // 2 + 1)
    sides = [slice(0, half + 1), slice(-half, None)]
    for first in sides:
        for second in sides:
            resampled[first, second, : half + 1] = modes[first, second, : half + 1]
    growth = float(growth_factor(1 / (1 + redshift), params.Omega_m))
    source = modes if n == cells else resampled
    return torch.fft.irfftn(source, s=(cells,) * 3).mul_(growth * (cells / n) ** 3)


def simulate_particles(
    params: CosmologyParams, box: SimulationBox, seed: int, method: str = "eisenstein_hu", device: str = "cpu"
) -> torch.Tensor:
    """Positions (3, n) in Mpc/h of one simulation: ``linear_field`` then ``evolve``."""
    return evolve(linear_field(params, box, seed, method, device), params, box)


def snapshot_redshifts(lowest: float, highest: float, count: int, seed: int) -> tuple[float, ...]:
    """Redshifts of ``count`` snapshots of the simulation of this seed, descending; of one the lowest.

    The scale factors between the two ends fall into ``count`` equal intervals, each has one snapshot, at random in it:
    over many simulations every epoch is met, so that a network learns the redshift as a number.
    """
    if count == 1:
        return (lowest,)
    generator = np.random.default_rng(np.random.SeedSequence([seed, 0x5AA9]))
    first, last = 1 / (1 + highest), 1 / (1 + lowest)
    scale_factors = first + (last - first) * (np.arange(count) + generator.random(count)) / count
    return tuple((1 / scale_factors - 1).tolist())
