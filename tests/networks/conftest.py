"""What every network is asked."""

from collections.abc import Callable

import pytest
import torch


@pytest.fixture
def every_parameter_learns() -> Callable[[torch.nn.Module, Callable[[], torch.Tensor]], None]:
    """A check: a step of each parameter along its gradient changes the loss by as much as the gradient says."""

    def check(network, loss):
        network.zero_grad()
        loss().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, f"{name} has no gradient"
            slope = float(parameter.grad.norm())
            assert slope > 0, f"{name} learns nothing"
            step = 1e-6 * max(1.0, float(parameter.detach().norm())) * parameter.grad / slope
            with torch.no_grad():
                found = []
                for sign in (1, -2, 1):  # there, to the other side, and back
                    parameter += sign * step
                    found.append(float(loss()))
            wanted = 2 * slope * float(step.norm())
            # the third derivative and the rounding of two losses of double precision
            assert abs(found[0] - found[1] - wanted) < 1e-3 * wanted + 1e-13 * abs(found[2]) * 10, name

    return check
