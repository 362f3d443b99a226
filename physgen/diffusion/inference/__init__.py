"""Inference: likelihoods, path weights, guidance, linear inverse problems."""
