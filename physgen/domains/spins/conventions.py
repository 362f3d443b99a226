r"""What a user says of foreign spins: sign and factor of couplings, temperatures, chains. Said or read, not guessed.

Here :math:`H = -\sum_{\langle ij\rangle} J_{ij} s_i s_j - \sum_i h_i s_i`. A file written for
:math:`E = +\sum J s s + \sum h s` (dimod, peapods inside, most annealers) has ``sign=plus``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from physgen.errors import InputError

SIGNS = {"minus": 1.0, "-": 1.0, "plus": -1.0, "+": -1.0}
COMMON = ("sign", "scale", "check", "chains")  # options of every format
MATCH = 1e-6


@dataclass(frozen=True)
class Conventions:
    """What was said of the files; None or "" where nothing was.

    Attributes:
        factor: what couplings and fields of the file are multiplied with to be those of H above.
        sign_given: whether the sign was named, by the user or by a header.
        temperatures: (T,) units of J, or None where the file has to say them.
        chains: number of chains or blocks of chains in which consecutive replicas stand; 0 for independent replicas.
        check: whether Callen's identity has to hold.
    """

    factor: float = 1.0
    sign_given: bool = False
    temperatures: np.ndarray | None = None
    chains: int = 0
    check: bool = True


def read_conventions(options: dict[str, str]) -> Conventions:
    """The conventions among ``options``, which are taken out of it."""
    sign, scale = options.pop("sign", ""), options.pop("scale", "1")
    if sign and sign not in SIGNS:
        raise InputError(
            f"sign={sign} is unknown: give sign=minus for H = -sum J s s or sign=plus for "
            "E = +sum J s s (dimod and most annealers)"
        )
    check = options.pop("check", "on")
    if check not in ("on", "off"):
        raise InputError(f"check={check}: give check=off to take configurations that are not in equilibrium, else on")
    chains = options.pop("chains", "0")
    if not chains.isdigit():
        raise InputError(f"chains={chains} must be a whole number, the chains or blocks that follow one another")
    return Conventions(
        factor=SIGNS.get(sign, 1.0) * _number(scale, "scale"),
        sign_given=bool(sign),
        temperatures=read_temperatures(options.pop("temperatures", ""), options.pop("betas", "")),
        chains=int(chains),
        check=check == "on",
    )


def read_temperatures(temperatures: str = "", betas: str = "") -> np.ndarray | None:
    """Temperatures in units of J from ``temperatures`` or from inverse temperatures ``betas``; None if neither."""
    if temperatures and betas:
        raise InputError(f"temperatures={temperatures} and betas={betas} both say it: give one of them")
    if not temperatures and not betas:
        return None
    name, text = ("temperatures", temperatures) if temperatures else ("betas", betas)
    try:
        values = np.array([float(part.strip().removesuffix("J")) for part in text.split(",") if part.strip()])
    except ValueError:
        raise InputError(f"{name} {text!r} must be numbers separated by commas, e.g. 0.5,1,2") from None
    if not np.all(np.isfinite(values) & (values > 0)):
        raise InputError(f"{name} {text!r} must be positive, {'in units of J' if temperatures else 'in 1/J'}")
    return values if temperatures else 1 / values


def agreeing(name: str, said: npt.ArrayLike | None, read: npt.ArrayLike | None, source: str) -> None:
    """InputError where an option and a header say different things."""
    if said is None or read is None or np.shape(said) == np.shape(read) and np.allclose(said, read, rtol=MATCH):
        return
    raise InputError(f"{name}: the options say {_words(said)}, the header of {source} {_words(read)}: correct one")


def _words(value: npt.ArrayLike) -> str:
    return ", ".join(f"{v:g}" for v in np.atleast_1d(value))


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{name}={text} is not a number") from None
    if not np.isfinite(value) or value <= 0:
        raise InputError(f"{name}={text} must be positive; for the sign of the couplings give sign=plus or sign=minus")
    return value


def whole_numbers(text: str, name: str) -> tuple[int, ...]:
    """Whole numbers separated by commas."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{name} {text!r} must be whole numbers separated by commas, e.g. 10,10,10") from None
