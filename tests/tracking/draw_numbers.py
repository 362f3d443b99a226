"""A loader as the stages have one: its sampler needs no network."""

import json

from safetensors.numpy import load_file


def load_sampler(folder):
    """sampler(seeds, steps, condition): weights + seed + condition, shape (N, 1, 2, 2)."""
    shift = json.loads((folder / "model.json").read_text())["model"]["shift"]
    weights = load_file(folder / "weights.safetensors")["w"]

    def draw(seeds, steps, condition):
        start = seeds[:, None, None, None] + weights
        return start / steps + shift + (condition or {}).get("temperature", 0.0)

    return draw
