"""Runs: the folder of one experiment, its model, its noise levels and the facts of its data."""
