"""Random-features score network: spectrum, learning curves and times, theory against diagonalised matrices."""

from benchmarks.regimes.row import Row
from physgen.diagnostics.regimes.random_features import feature_constants


def rows():
    return constants()


def constants():
    found = feature_constants(0.01)
    shown = {
        "kappa_a": (found.kappa_a, 0.605706),
        "kappa_b^2": (found.kappa_b**2, 0.0072647),
        "kappa_v^2": (found.kappa_v2, 0.0255418),
        "kappa_s^2": (found.kappa_s2, 0.00187355),
    }
    note = "Gauss-Hermite quadrature; theory: an independent integration to six digits; rule: within 1e-5 of it"
    return [
        Row(f"{name} of tanh, t = 0.01", value, 0, expected, "", abs(value / expected - 1) < 1e-5, note)
        for name, (value, expected) in shown.items()
    ]
