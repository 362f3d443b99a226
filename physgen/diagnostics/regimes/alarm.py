r"""The first sign of memorization in a training, with a stated rate of false alarms.

At each look of a training, configurations are drawn and the fraction :math:`f_{mem}` whose gap ratio
:math:`d_1/d_2` to the training set is below 1/3 is compared with the same fraction of held-out configurations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from physgen.diagnostics.copy_verdict import excess_p


@dataclass(frozen=True)
class MemorizationAlarm:
    r"""Rings at the first look at which more drawn than held-out configurations are copies.

    Fisher's exact test of the two counts, with the rate divided by the number of looks (Bonferroni): a training whose
    drawn configurations follow the law of the held-out ones rings at any of its looks with a probability of at most
    ``false_alarms``, whatever the correlation of the looks. The counts are discrete, so that the true rate is far
    below it (``tests/diagnostics/regimes/test_alarm.py``). Configurations of one unit that resemble each other more
    than others are counted as independent: there the rate is not guaranteed.

    Attributes:
        looks: how many are planned.
        false_alarms: accepted rate of the whole training.
    """

    looks: int
    false_alarms: float = 0.01

    @property
    def threshold(self) -> float:
        """p value of a single look below which it rings."""
        return self.false_alarms / max(self.looks, 1)

    def p_value(self, f_mem: float, drawn: int, f_mem_heldout: float, heldout: int) -> float:
        """Of the fraction of ``drawn`` configurations against that of ``heldout`` ones."""
        return excess_p(f_mem, drawn, f_mem_heldout, heldout)

    def rings(self, f_mem: float, drawn: int, f_mem_heldout: float, heldout: int) -> bool:
        """Whether this look ends the training."""
        return self.p_value(f_mem, drawn, f_mem_heldout, heldout) < self.threshold

    def least_seen(self, drawn: int, heldout: int, power: float = 0.9) -> float:
        """Smallest copied fraction at which a look rings with probability ``power``, where no held-out one is a copy.

        nan where it never rings: too few configurations for so many looks.
        """
        hits = np.arange(1, drawn + 1)
        enough = hits[stats.hypergeom.sf(hits - 1, drawn + heldout, hits, drawn) < self.threshold]
        # P(at least h hits) = power at the quantile 1 - (1 - power) of the beta law of the h-th smallest
        return float(stats.beta.ppf(power, enough[0], drawn - enough[0] + 1)) if len(enough) else np.nan
