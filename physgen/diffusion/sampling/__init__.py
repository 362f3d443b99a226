"""Sampling: solvers of stated order, and the one function that draws with them."""
