"""Chains of spins, contrastive divergence and annealing against the enumeration of all configurations."""

import math

import pytest
import torch

from physgen.diffusion.energy import (
    ContrastiveDivergence,
    GradientFlips,
    SiteFlips,
    SpinStart,
    TorchDraws,
    annealed_log_Z,
    run_chains,
)

N = 8


def all_states(n=N):
    bits = (torch.arange(2**n)[:, None] >> torch.arange(n)) & 1
    return (2.0 * bits - 1).reshape(-1, 1, n)


class Pairs(torch.nn.Module):
    """E = -x J x / 2 - h x, with the call of a denoiser's energy."""

    def __init__(self, scale, seed=0):
        super().__init__()
        draws = torch.Generator().manual_seed(seed)
        bonds = scale * torch.randn(N, N, generator=draws)
        self.bonds = torch.nn.Parameter(((bonds + bonds.T) / 2).fill_diagonal_(0))
        self.field = torch.nn.Parameter(scale * torch.randn(N, generator=draws))

    def forward(self, x):
        spins = x.flatten(1)
        return -0.5 * ((spins @ self.bonds) * spins).sum(1) - spins @ self.field

    def energy(self, y, s, condition=None):
        return self(y)

    def exact(self):
        """ln Z, probabilities of all states."""
        with torch.no_grad():
            logs = -self(all_states()).double()
        return float(torch.logsumexp(logs, 0)), torch.softmax(logs, 0)


def numbers_of(x):
    """Which of all_states() each configuration is."""
    return ((x.flatten(1) > 0).long() * 2 ** torch.arange(x[0].numel())).sum(1)


def kernel(move, energy, repeats, seed):
    """Estimated transition matrix of 3 spins, with the number of transitions from each state."""
    states = all_states(3)
    start = states.repeat_interleave(repeats, 0)
    moved, _ = move(energy, move.start(energy, start), 1.0, TorchDraws(torch.Generator().manual_seed(seed)))
    counts = torch.zeros(8, 8, dtype=torch.float64)
    counts.index_put_((numbers_of(start), numbers_of(moved.x)), torch.ones(len(start), dtype=torch.float64), True)
    return counts / repeats


def three(x):
    spins = x.flatten(1)
    return -0.9 * spins[:, 0] * spins[:, 1] + 0.5 * spins[:, 1] * spins[:, 2] - 0.4 * spins.prod(1) + 0.3 * spins[:, 0]


@pytest.mark.parametrize(
    "move", [SiteFlips(updates=1), SiteFlips("metropolis", updates=2), GradientFlips(), GradientFlips(updates=3)]
)
def test_flips_obey_detailed_balance(move):
    """p(a) K(a, b) = p(b) K(b, a) for every pair, within five binomial errors."""
    repeats = 20_000
    found, p = kernel(move, three, repeats, 1), torch.softmax(-three(all_states(3)).double(), 0)
    flow = p[:, None] * found
    error = p[:, None] * (found * (1 - found) / repeats).sqrt()
    total = (error.square() + error.T.square()).sqrt().clamp(min=float(p.max()) / repeats)
    assert float(((flow - flow.T).abs() / total).max()) < 5
    off = found - torch.diag(found.diagonal())
    assert float(off.sum(1).min()) > 0.05  # they do move


def test_flips_that_forget_the_proposal_break_detailed_balance():
    """The same test sees a Metropolis rule without the ratio of proposals."""

    class Wrong(GradientFlips):
        def __call__(self, energy, state, size, draws):
            new, _ = super().__call__(lambda x: 0 * energy(x), state, size, draws)
            return new, _

    repeats = 20_000
    found, p = kernel(Wrong(), three, repeats, 1), torch.softmax(-three(all_states(3)).double(), 0)
    flow = p[:, None] * found
    assert float((flow - flow.T).abs().max()) > 0.01


@pytest.mark.parametrize("move", [SiteFlips(updates=4), GradientFlips(updates=4)])
def test_chains_of_spins_draw_the_law(move):
    law = Pairs(0.3)
    _, p = law.exact()
    run = run_chains(law, move, torch.ones(150, 1, N), steps=80, burn_in=40, every=2, seed=3)
    counts = torch.bincount(numbers_of(run.draws), minlength=2**N).double()
    moments = torch.einsum("k,kn->n", p, all_states().flatten(1).double())
    found = torch.einsum("k,kn->n", counts / counts.sum(), all_states().flatten(1).double())
    error = ((1 - moments**2) * run.slowest / counts.sum()).sqrt()
    assert float(((found - moments) / error).abs().max()) < 4.5
    assert run.independent < len(run.draws)


def test_persistent_chains_find_maximum_likelihood():
    """At the fixed point the moments of the model are those of the data, and so its law is theirs."""
    truth, model = Pairs(0.35, seed=2), Pairs(0.0)
    _, p = truth.exact()
    draws = torch.Generator().manual_seed(5)
    states, count = all_states(), 4000
    x = states[torch.multinomial(p, count, replacement=True, generator=draws)]
    loss = ContrastiveDivergence(model, SiteFlips(updates=4), x[:500], level=1.0, noisy=False)
    optimizer, s = torch.optim.SGD(model.parameters(), 1.0), torch.ones(count)
    average = [torch.zeros_like(parameter) for parameter in model.parameters()]
    torch.manual_seed(0)
    for step in range(300):
        for group in optimizer.param_groups:
            group["lr"] = 1.5 / (1 + step / 60)
        optimizer.zero_grad()
        loss(x, s, torch.zeros_like(x)).mean().backward()
        optimizer.step()
        if step >= 150:  # Polyak and Ruppert: the mean of the path scatters less than its end
            for mean, parameter in zip(average, model.parameters(), strict=True):
                mean += parameter.detach() / 150
    for mean, parameter in zip(average, model.parameters(), strict=True):
        parameter.data.copy_(mean)
    _, q = model.exact()
    spins = states.flatten(1).double()
    data = spins[numbers_of(x)]
    pairs = torch.triu_indices(N, N, 1)
    for of_data, of_all in (
        (data, spins),
        (data[:, pairs[0]] * data[:, pairs[1]], spins[:, pairs[0]] * spins[:, pairs[1]]),
    ):
        mean, scatter = of_data.mean(0), of_data.std(0)
        # the chains give 500/tau draws in each of the 150 averaged updates: a scatter well below that of 4000 data
        assert float(((q @ of_all - mean) / (scatter / math.sqrt(count))).abs().max()) < 1.5
    assert float((p * (p / q).log()).sum()) < 2 * (N + N * (N - 1) / 2) / (2 * count)


@pytest.mark.parametrize("move", [SiteFlips(), GradientFlips(updates=N)])
def test_annealing_finds_ln_Z_from_both_sides(move):
    law = Pairs(0.4, seed=4)
    exact, p = law.exact()
    start = SpinStart((1, N), field=law.field.detach())
    draws = all_states()[torch.multinomial(p, 300, replacement=True, generator=torch.Generator().manual_seed(1))]
    found = annealed_log_Z(law, start, move, torch.linspace(0, 1, 13).tolist(), 300, 0, draws)
    assert found.both.is_closed
    assert abs(found.log_Z - exact) < 4 * found.log_Z_error < 0.2
    assert abs(found.forward.log_Z - exact) < 4 * found.forward.log_Z_error
    assert found.both.lower < exact < found.both.upper


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="heat bath, metropolis"):
        SiteFlips("gibs")
    with pytest.raises(ValueError, match="rise from 0 to 1"):
        annealed_log_Z(three, SpinStart((1, 3)), SiteFlips(), [0.0, 0.5], 10)
    with pytest.raises(ValueError, match="no energy"):
        ContrastiveDivergence(torch.nn.Identity(), SiteFlips(), torch.ones(2, 1, 3), level=1.0)
    loss = ContrastiveDivergence(Pairs(0.1), SiteFlips(), torch.ones(2, 1, N), level=1.0, noisy=False)
    with pytest.raises(ValueError, match="persistent"):
        loss(torch.ones(2, 1, N), torch.ones(2), torch.zeros(2, 1, N), {"labels": torch.ones(2, 1)})
