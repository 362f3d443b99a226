"""What emulated fields are worth, to docs/emulators.md: ``python -m benchmarks.emulators [--write] [topic ...]``.

As :mod:`benchmarks.regimes`. See :mod:`benchmarks.campaign`.
"""

import sys

from benchmarks.campaign import Campaign, run

EMULATORS = Campaign(
    "emulators",
    "Emulated fields",
    "What fields that are drawn are worth: likelihoods, posteriors, control variates, corrections of spectra.",
    "The emulators that come with physgen have pages of their own: [slabs64](slabs64.md), [cubes32](cubes32.md).",
)

if __name__ == "__main__":
    sys.exit(run(EMULATORS, sys.argv[1:]))
