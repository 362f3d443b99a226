"""Learning: denoisers, losses, the training loop of one process, EMA and validation."""
