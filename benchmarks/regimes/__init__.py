"""Figures of the papers on dynamical regimes and memorization, measured beside theory: ``make regimes``."""
