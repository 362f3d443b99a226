"""What is taken off the spectra of a comparison, as the words of a shell say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from physgen.diagnostics.window import Correction as Correction
from physgen.errors import InputError


def parse_correction(words: Mapping[str, str]) -> Correction | None:
    """A correction from ``deconvolve``, ``mass_assignment`` and ``shot_noise``; None from no words.

    Raises:
        InputError: another word, a level that is no number, or nothing that is taken off.
    """
    if not words:
        return None
    known = [field.name for field in fields(Correction)]
    if unknown := sorted(set(words) - set(known)):
        raise InputError(f"--correct {unknown[0]}=... is unknown: give {', '.join(known)}")
    given: dict[str, Any] = dict(words)
    if given.get("shot_noise", "poisson") != "poisson":
        try:
            given["shot_noise"] = float(given["shot_noise"])
        except ValueError:
            raise InputError(f"shot_noise={given['shot_noise']!r} is neither poisson nor a level of P") from None
    correction = Correction(**given)
    if not correction.acts:
        raise InputError("--correct takes nothing off: give deconvolve=window, deconvolve=aliased or shot_noise=LEVEL")
    return correction
