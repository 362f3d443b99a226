"""Discretization: the noise levels of least error, and a check of them on the network itself."""
