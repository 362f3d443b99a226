r"""Which single configurations are copies of training configurations, and how many could have been missed.

The nearest similarity of a held-out configuration is a maximum over the training set; on a scale x without an upper end
(Fisher's :math:`x = \mathrm{artanh}\,\rho` for correlations and overlaps, :math:`x = -\ln d` for distances) such
maxima follow a Gumbel law, :math:`P(X > x) = 1 - e^{-e^{-(x-\mu)/\beta}}`, fitted by moments to the held-out ones. A
generated configuration far out in its tail, with a distance to the nearest that is also unusually small beside the
second nearest, is a copy. Where even a perfect copy would not be improbable (few spins at low temperature repeat in
equilibrium), copies cannot be told one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from physgen.diagnostics.nearest import Nearest


EULER = 0.5772156649
SEEN_AT = 0.98  # correlation of a copy that must be seen where copies are said to be seen
FEWEST = 8  # held-out configurations below which no law is fitted


@dataclass(frozen=True)
class Copies:
    """What is known of single copies among n generated configurations."""

    copy: np.ndarray  # (n,) bool
    seen: np.ndarray  # (n,) bool: a copy in this place would have been convicted
    p_value: float  # of the most suspicious one, times n
    upper: float  # copied fraction, upper end at 95 % confidence; 1 where nothing could be seen
    threshold: float  # largest similarity, over groups, from which on one is convicted

    @property
    def count(self) -> int:
        """Convicted configurations."""
        return int(self.copy.sum())


def scale_of(similarity: np.ndarray, distance: bool) -> np.ndarray:
    """Similarity on a scale without an upper end."""
    if distance:
        return -np.log(np.maximum(-similarity, 1e-12))
    return np.arctanh(np.clip(similarity, -1 + 1e-7, 1 - 1e-7))


def find_copies(
    generated: Nearest,
    heldout: Nearest,
    groups: tuple[np.ndarray, np.ndarray] | None = None,
    distance: bool = False,
    false_alarms: float = 0.001,
) -> Copies:
    """Convict single copies.

    Args:
        generated, heldout: :class:`physgen.diagnostics.nearest.Nearest` against one training set.
        groups: (labels of generated (n,), labels of held-out (m,)) such as the temperature: each group has its own law.
        distance: similarities are minus distances, not correlations.
        false_alarms: probability, over all configurations, of convicting one that is no copy.

    Returns:
        :class:`Copies`.
    """
    n, m = len(generated.similarity), len(heldout.similarity)
    mine, theirs = (np.zeros(n), np.zeros(m)) if groups is None else groups
    copy, seen, p, threshold = np.zeros(n, bool), np.zeros(n, bool), np.ones(n), -np.inf
    for group in np.unique(mine):
        at, null = np.flatnonzero(mine == group), np.flatnonzero(theirs == group)
        if len(null) < FEWEST:
            continue
        place, width = _gumbel(scale_of(heldout.similarity[null, 0], distance))
        x = scale_of(generated.similarity[at, 0], distance)
        p[at] = n * -np.expm1(-np.exp(-np.clip((x - place) / width, -30, 700)))
        limit = place + width * np.log(n / false_alarms)
        perfect = x.max() if distance else scale_of(np.array(SEEN_AT), distance)
        seen[at] = True if distance else limit < perfect
        alone = generated.duplicate[at] | (generated.gap[at] < np.nanmin(heldout.gap[null]))
        copy[at] = seen[at] & (x > limit) & alone
        threshold = max(threshold, float(-np.exp(-limit) if distance else np.tanh(limit)))
    convicted = int(copy.sum())
    could = int(seen.sum())
    upper = float(stats.beta.ppf(0.95, convicted + 1, could - convicted)) if could > convicted else 1.0
    suspicious = p[copy].min() if convicted else min(p[seen].min(), 1.0) if could else np.nan
    return Copies(copy, seen, float(min(suspicious, 1.0)), upper, threshold)


def _gumbel(x: np.ndarray) -> tuple[float, float]:
    r"""Place and width by moments; the width is raised by two of its standard errors, :math:`\sqrt{1.1/m}` each."""
    width = max(x.std(ddof=1) * np.sqrt(6) / np.pi, 1e-6)
    return x.mean() - EULER * width, width * (1 + 2 * np.sqrt(1.1 / len(x)))
