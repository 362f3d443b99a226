"""Training by the core's own loop, with the loss of a chain in place of the denoising loss."""

import torch

from physgen.diffusion.learning.training import Recipe, TrainingState, train


def trained(model, loss, x, recipe):
    """The averaged weights of ``model``, in evaluation mode, after training with ``loss(model)`` on x (N, C, *grid).

    Args:
        model: module that the loss evaluates.
        loss: module -> module with the call (x0, s, noise, condition) -> (B,).
        x: training data, float32.
        recipe: a Recipe, or the arguments of one.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe(**recipe)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # CPU seconds are those of one thread
    try:
        state = TrainingState(model, recipe, wrap=lambda plain: loss(plain.denoiser))
        for _ in train(state, x.float()):
            pass
    finally:
        torch.set_num_threads(threads)
    if state.skipped:
        raise RuntimeError(f"{state.skipped} steps of the training were not finite")
    return state.ema
