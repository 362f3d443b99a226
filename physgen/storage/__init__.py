"""Storage: files that are whole or absent, checkpoints, weights."""
