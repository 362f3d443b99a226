r"""The binomial chain of the paper: bits that are redrawn with probability beta_t from a Bernoulli law of mean p.

With :math:`\beta_t = 1/(T - t + 1)` a bit survives t steps with probability :math:`a_t = 1 - t/T`, and

.. math:: q(x_t = 1|x_0) = a_t x_0 + (1 - a_t) p, \qquad
          q(x_{t-1} = 1|x_t, x_0) \propto q(x_t|x_{t-1} = 1)\, q(x_{t-1} = 1|x_0).

A model gives :math:`\pi_i(x_t, t) = P(x_{0,i} = 1|x_t)`; the reverse step draws each site from :math:`c_i =
\sum_v P(x_{0,i} = v|x_t)\, q(x_{t-1,i} = 1|x_t, v)`. With the exact :math:`\pi` this is the best factorised reverse
step, and its K the ceiling of all chains with these steps. In the paper's bound the first step is the forward one,

.. math:: K = -\sum_{t=2}^T E\,KL\big(q(x_{t-1}|x_t, x_0)\,\|\,p(x_{t-1}|x_t)\big) - H_q(x_1|x_0),

as the terms of x_T cancel (:math:`a_T = 0`). With its own first step the model has :math:`E \ln p(x_0|x_1)` in place
of the last term. Shapes: B rows, d sites, K sequences; x of 0 and 1, float64; t (B,) whole numbers 1...T.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

TINY = 1e-12


@dataclass(frozen=True)
class Bits:
    """The chain: T steps, mean p of a bit that was redrawn."""

    steps: int
    mean: float

    def survival(self, t: Tensor) -> Tensor:
        """a_t, (B,) -> (B,)."""
        return 1 - t.double() / self.steps

    def marginal(self, x0: Tensor, t: Tensor) -> Tensor:
        """q(x_t = 1|x_0), (B, d); x0 in [0, 1]."""
        a = self.survival(t)[:, None]
        return a * x0 + (1 - a) * self.mean

    def draw(self, x0: Tensor, t: Tensor, uniform: Tensor) -> Tensor:
        """x_t from uniform numbers (B, d)."""
        return (uniform < self.marginal(x0, t)).double()

    def backward(self, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """q(x_{t-1} = 1|x_t, x_0), (B, d), at x_0 of 0 or 1."""
        beta = (1 / (self.steps - t.double() + 1))[:, None]
        on, off = (self._seen(x, beta, float(v)) for v in (1, 0))
        before = self.marginal(x0, t - 1)
        return on * before / (on * before + off * (1 - before)).clamp(min=1e-300)

    def _seen(self, x: Tensor, beta: Tensor, value: float) -> Tensor:
        """q(x_t = x|x_{t-1} = value)."""
        one = (1 - beta) * value + beta * self.mean
        return torch.where(x > 0.5, one, 1 - one)

    def step(self, x: Tensor, posterior: Tensor, t: Tensor) -> Tensor:
        """c, (B, d): probability of a one at t - 1, from pi (B, d)."""
        on, off = (self.backward(x, torch.full_like(x, v), t) for v in (1.0, 0.0))
        return posterior * on + (1 - posterior) * off


@dataclass(frozen=True, eq=False)
class ExactBits:
    """pi of a list of sequences: values (K, d) of 0 and 1, weights (K,)."""

    chain: Bits
    values: Tensor
    weights: Tensor

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        a, mean = self.chain.survival(t)[:, None], self.chain.mean
        ones = x @ self.values.T  # (B, K) ones where the sequence has one
        total, size, d = x.sum(1, keepdim=True), self.values.sum(1), x.shape[1]
        kept, made = a + (1 - a) * mean, (1 - a) * mean  # of a one: from a one, from a zero
        logs = [torch.log(v.clamp(min=1e-300)) for v in (kept, 1 - kept, made, 1 - made)]
        counts = ones, size - ones, total - ones, d - size - total + ones
        joint = sum(n * log for n, log in zip(counts, logs, strict=True)) + self.weights.log()
        return torch.softmax(joint, dim=1) @ self.values


class TrainedBits(nn.Module):
    """pi of a network F(x, c, condition): logit = that of the prior and of the site's own bit, plus F."""

    def __init__(self, network: nn.Module, chain: Bits) -> None:
        super().__init__()
        self.network, self.chain = network, chain

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """(B, d) and t (B,) -> pi (B, d), float64."""
        mean, steps = self.chain.mean, self.chain.steps
        a = (steps - t.double() + 0.5) / (steps + 1)
        made = ((1 - self.chain.survival(t)) * mean)[:, None]
        kept = self.chain.survival(t)[:, None] + made
        own = torch.where(x > 0.5, torch.log(kept / made), torch.log((1 - kept).clamp(min=TINY) / (1 - made)))
        clock = (torch.logit(a) / 4).float()
        more = self.network((2 * x - 1).float(), clock, None).double()
        return torch.sigmoid(math.log(mean / (1 - mean)) + own + more)


def bernoulli_kl(q: Tensor, p: Tensor) -> Tensor:
    """KL of Bernoulli laws in nats, summed over the sites, (B,)."""
    p, xlogy = p.clamp(TINY, 1 - TINY), torch.special.xlogy
    return (xlogy(q, q) - xlogy(q, p) + xlogy(1 - q, 1 - q) - xlogy(1 - q, 1 - p)).sum(1)


def step_terms(model, chain: Bits, x0: Tensor, t: Tensor, uniform: Tensor) -> Tensor:
    """KL of the reverse step at t, in nats, (B,); at t = 1 it is -ln p(x0|x_1)."""
    x = chain.draw(x0, t, uniform)
    return bernoulli_kl(chain.backward(x, x0, t), chain.step(x, model(x, t), t))


class BitsLoss(nn.Module):
    """T times the term of a random step, in nats, with the call of the other losses: s = u is t/T, x0 is +-1."""

    def __init__(self, model: TrainedBits) -> None:
        super().__init__()
        self.model = model

    def forward(self, x0, s, noise, condition):
        """Loss (B,)."""
        chain = self.model.chain
        t = (s.double() * chain.steps).ceil().clamp(1, chain.steps)
        uniform = torch.special.ndtr(noise.double())
        return chain.steps * step_terms(self.model, chain, (x0.double() + 1) / 2, t, uniform)


@torch.no_grad()
def bound(model, chain: Bits, data: Tensor, draws: int, seed: int) -> dict[str, tuple[float, float]]:
    """K in bits with its standard error: "paper" with the forward first step, "own" with the model's.

    ``data`` (n, d) of 0 and 1 are taken in turn, ``draws`` rows at each step, independent between steps.
    """
    generator = torch.Generator().manual_seed(seed)
    total, variance = 0.0, 0.0
    block = max(1, 20_000 // draws)
    for first in range(2, chain.steps + 1, block):
        steps = torch.arange(first, min(first + block, chain.steps + 1))
        rows = torch.randint(len(data), (len(steps) * draws,), generator=generator)
        uniform = torch.rand(len(rows), data.shape[1], generator=generator, dtype=torch.float64)
        terms = step_terms(model, chain, data[rows], steps.repeat_interleave(draws), uniform).reshape(-1, draws)
        total += float(terms.mean(1).sum())
        variance += float((terms.var(1) / draws).sum())
    rows = torch.randint(len(data), (20 * draws,), generator=generator)
    uniform = torch.rand(len(rows), data.shape[1], generator=generator, dtype=torch.float64)
    last = step_terms(model, chain, data[rows], torch.ones(len(rows), dtype=torch.long), uniform)
    ln2, own_variance = math.log(2), variance + float(last.var() / len(last))
    return {
        "paper": (-(total + first_entropy(chain, data)) / ln2, math.sqrt(variance) / ln2),
        "own": (-(total + float(last.mean())) / ln2, math.sqrt(own_variance) / ln2),
    }


def first_entropy(chain: Bits, data: Tensor) -> float:
    """H_q(x_1|x_0) in nats."""
    p = chain.marginal(data, torch.ones(len(data), dtype=torch.long))
    return float(-(torch.special.xlogy(p, p) + torch.special.xlogy(1 - p, 1 - p)).sum(1).mean())


@torch.no_grad()
def path_log_likelihood(model, chain: Bits, data: Tensor, paths: int, seed: int) -> Tensor:
    r"""Estimates (n,) of ln p(x0) of the chain with its own first step, :math:`\ln\langle p/q\rangle` over paths."""
    generator = torch.Generator().manual_seed(seed)
    x0 = data.repeat_interleave(paths, 0)
    x, log_ratio = x0, torch.zeros(len(x0), dtype=torch.float64)
    for step in range(1, chain.steps + 1):
        t = torch.full((len(x0),), step)
        beta = 1 / (chain.steps - step + 1)
        ahead = (1 - beta) * x + beta * chain.mean
        above = (torch.rand(x.shape, generator=generator, dtype=torch.float64) < ahead).double()
        back = chain.step(above, model(above, t), t).clamp(TINY, 1 - TINY)
        log_ratio += _log_bernoulli(x, back) - _log_bernoulli(above, ahead)
        x = above
    log_ratio += _log_bernoulli(x, torch.full_like(x, chain.mean))
    return torch.logsumexp(log_ratio.reshape(len(data), paths), 1) - math.log(paths)


def _log_bernoulli(x: Tensor, p: Tensor) -> Tensor:
    return (torch.special.xlogy(x, p) + torch.special.xlogy(1 - x, 1 - p)).sum(1)
