r"""Posteriors of labels made right on configurations that were held out, whose labels are known.

A density p(x | l) that a network has learned, or that was drawn with noise, is off by something that grows with the
distance between labels. To first order it is a factor and a slope of ln p:

.. math:: q_{\beta, c}(l\,|\,x) = p(l\,|\,x)^\beta\, e^{c \cdot l} / Z(x), \qquad l \in [-1, 1]^n .

Of a Gaussian posterior :math:`\beta` divides the covariance and :math:`c` shifts the mean by :math:`\Sigma c/\beta`;
the prior's edges stay where they are. The mean of :math:`\ln q(l_{true}|x)` over held-out configurations is a proper
score and concave in :math:`(\beta, c)`, an exponential family: its maximum is (1, 0) within its error where p is right.
There are n + 1 numbers to learn, which some tens of independent units can tell, or the exponent alone where the slope
does not raise the score of units that it was not learned from; a map of ranks, label by label, would learn a curve for
each and leave the joint posterior aside.

Errors are the jackknife over units, by one Newton step from the maximum for each unit left out. The recalibrated
posterior is averaged over what the units leave open of :math:`(\beta, c)`, so that few of them widen it.

Sources: tempered likelihoods, Gruenwald and van Ommen 2017, doi:10.1214/17-BA1085; the logarithmic score, Gneiting and
Raftery 2007, doi:10.1198/016214506000001437.

Shapes: U posteriors, n labels, m = n + 1 parameters, Q points of a quadrature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from physgen.diffusion.inference.label_posterior import LabelPosterior
from physgen.errors import InputError

FEWEST = 20  # independent units: the exponent of one label from fewer errs by more than a third
STEPS, CLOSE = 60, 1e-12  # of Newton's method, and the nats below which a further step gains nothing
LEAST = 0.05  # of the exponent, as a share, where its error is averaged over


@dataclass(frozen=True)
class LabelCalibration:
    r"""What was learned from posteriors of known labels.

    Attributes:
        exponent: :math:`\beta`. tilt: (n,), c; labels are in units of half their range.
        covariance: (m, m) of (exponent, tilt), jackknife over units.
        units: independent ones. posteriors: of them.
        gain, gain_error: mean of ln q - ln p at the truth, nats, each unit judged by what the others say.
        widening, widening_error: (n,) mean of the recalibrated standard deviation over the raw one.
        shift, shift_error: (n,) mean of the recalibrated mean less the raw one, in raw standard deviations.
    """

    exponent: float
    tilt: np.ndarray
    covariance: np.ndarray
    units: int
    posteriors: int
    gain: float
    gain_error: float
    widening: np.ndarray
    widening_error: np.ndarray
    shift: np.ndarray
    shift_error: np.ndarray

    @property
    def parameters(self) -> np.ndarray:
        """(m,): the exponent, then the tilt."""
        return np.r_[self.exponent, self.tilt]

    @property
    def error(self) -> np.ndarray:
        """Standard errors of the parameters (m,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    def apply(self, found: LabelPosterior) -> LabelPosterior:
        """Recalibrated posteriors on the points of ``found``, averaged over the error of the parameters."""
        return tempered(found, self.parameters, self.covariance)


def tempered(found: LabelPosterior, parameters: np.ndarray, covariance: np.ndarray | None = None) -> LabelPosterior:
    r"""Posteriors :math:`p^\beta e^{c \cdot l}`, averaged over a normal error of (exponent, tilt) where it is given."""
    at = _sigma_points(np.asarray(parameters, dtype=float), covariance)
    return found.reweighted(np.mean([_tilted(found, one) for one in at], axis=0))


def best_calibration(found: LabelPosterior, truth: np.ndarray, units: np.ndarray | None = None) -> LabelCalibration:
    """With the tilt or without it, whichever raises the score of units that are judged by the others more."""
    both = [calibrate_labels(found, truth, units, with_tilt=with_tilt) for with_tilt in (False, True)]
    return max(both, key=lambda one: one.gain)


def calibrate_labels(
    found: LabelPosterior, truth: np.ndarray, units: np.ndarray | None = None, *, with_tilt: bool = True
) -> LabelCalibration:
    r"""Exponent and tilt that make posteriors of known labels right, each independent unit weighing alike.

    Args:
        found: posteriors of configurations that nothing was learned from, of :func:`label_posterior`.
        truth: (U, n) in [-1, 1].
        units: (U,) names of what is independent; None: every posterior.
        with_tilt: False keeps c = 0.

    Raises:
        InputError: fewer than 20 units, or posteriors that say nothing of the labels (an exponent that is not above 0).
    """
    true = np.clip(np.asarray(truth, dtype=float), -1, 1)
    index = np.unique(np.arange(len(true)) if units is None else np.asarray(units), return_inverse=True)[1]
    count = len(np.unique(index))
    if count < FEWEST:
        raise InputError(f"a recalibration needs at least {FEWEST} independent units with known labels, got {count}")
    share = 1 / np.bincount(index)[index] / count  # of each posterior in the mean over units
    known = np.concatenate([found.ln_weight_at(true)[:, None], true], axis=1)
    free = known.shape[1] if with_tilt else 1
    best = _maximum(found, known, share, free)
    ln_q, slope, curve = _scores(found, known, best)
    slopes, curves = _per_unit(slope, index) / count, _per_unit(curve, index) / count  # (units, m), (units, m, m)
    left_out = np.tile(best, (count, 1))
    curves, slopes = curves[:, :free, :free], slopes[:, :free]
    left_out[:, :free] -= np.linalg.solve(curves.sum(0) - curves, slopes[:, :, None])[:, :, 0]
    away = left_out - left_out.mean(0)
    covariance = (count - 1) / count * away.T @ away
    others = _value(found, known, left_out[index])
    raw = _value(found, known, np.tile(np.eye(len(best))[0], (len(true), 1)))
    gains = _per_unit(others - raw, index)
    effect = _effects(found, best, share)
    values, vectors = np.linalg.eigh(covariance)
    moves = (vectors * np.sqrt(np.maximum(values, 0))).T
    change = np.stack([(_effects(found, best + c, share) - _effects(found, best - c, share)) / 2 for c in moves])
    error = np.sqrt((change**2).sum(0))
    return LabelCalibration(
        float(best[0]), best[1:], covariance, count, len(true), float(gains.mean()),
        float(gains.std(ddof=1) / math.sqrt(count)), effect[0], error[0], effect[1], error[1],
    )  # fmt: skip


def _tilted(found: LabelPosterior, parameters: np.ndarray) -> np.ndarray:
    """Weights (U, Q), sum 1."""
    ln_q = parameters[0] * found.ln_weight + found.points @ parameters[1:]
    weight = np.exp(ln_q - ln_q.max(1, keepdims=True))
    return np.asarray(weight / weight.sum(1, keepdims=True))


def _value(found: LabelPosterior, known: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """ln q at the truth (U,), each posterior with parameters (U, m) of its own."""
    ln_q = parameters[:, :1] * found.ln_weight + np.einsum("uqn,un->uq", found.points, parameters[:, 1:])
    top = ln_q.max(1)
    return np.asarray((known * parameters).sum(1) - top - np.log(np.exp(ln_q - top[:, None]).sum(1)))


def _scores(
    found: LabelPosterior, known: np.ndarray, parameters: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ln q at the truth (U,), its gradient (U, m) and the covariance (U, m, m) that is minus its second derivative."""
    weight = _tilted(found, parameters)
    parts = np.concatenate([found.ln_weight[:, :, None], found.points], axis=2)
    mean = np.einsum("uq,uqm->um", weight, parts)
    parts -= mean[:, None]
    curve = np.einsum("uqm,uqk->umk", parts * weight[:, :, None], parts)
    value = _value(found, known, np.tile(parameters, (len(known), 1)))
    return value, known - mean, curve


def _maximum(found: LabelPosterior, known: np.ndarray, share: np.ndarray, free: int) -> np.ndarray:
    """The first ``free`` parameters at the largest mean score, by Newton's method with halved steps: it is concave."""
    at = np.eye(known.shape[1])[0]
    value, slope, curve = _scores(found, known, at)
    for _ in range(STEPS):
        step = np.zeros(len(at))
        step[:free] = np.linalg.solve(np.einsum("u,umk->mk", share, curve)[:free, :free], (share @ slope)[:free])
        gain = float(share @ slope @ step)
        if gain < CLOSE:
            break
        size, now = 1.0, float(share @ value)
        while size > 1e-6:
            tried = _value(found, known, np.tile(at + size * step, (len(known), 1)))
            if float(share @ tried) > now + 1e-4 * size * gain:
                break
            size /= 2
        at = at + size * step
        value, slope, curve = _scores(found, known, at)
    if at[0] <= 0:
        raise InputError(
            f"the posteriors say nothing of the held-out labels (exponent {at[0]:.2g}): train longer, or check the data"
        )
    return at


def _effects(found: LabelPosterior, parameters: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(2, n): mean widening and mean shift in raw standard deviations."""
    other = tempered(found, parameters)
    return np.stack([share @ (other.std / found.std), share @ ((other.mean - found.mean) / found.std)])


def _sigma_points(parameters: np.ndarray, covariance: np.ndarray | None) -> np.ndarray:
    """(1 or 2 m, m) of equal weight with this mean and covariance, exponents kept above 0."""
    if covariance is None or not np.any(covariance):
        return parameters[None]
    values, vectors = np.linalg.eigh(covariance)
    moves = math.sqrt(len(parameters)) * (vectors * np.sqrt(np.maximum(values, 0))).T
    points = np.concatenate([parameters + moves, parameters - moves])
    points[:, 0] = np.maximum(points[:, 0], LEAST * parameters[0])
    return points


def _per_unit(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Means over the posteriors of each unit."""
    total = np.zeros((int(index.max()) + 1, *values.shape[1:]))
    np.add.at(total, index, values)
    return np.asarray(total / np.bincount(index).reshape(-1, *[1] * (values.ndim - 1)))
