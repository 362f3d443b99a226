r"""Message passing from its input features to its output in one pass over a few samples at a time, and its gradient.

What the network does between its products of small matrices is two thousand operations of torch a step, each over
fields that no longer lie in the cache. On a CPU :func:`passed` runs passing.cpp (see native.py), where a block of
samples stays in the cache through all layers. Everywhere else, under torch.compile, and under transformations of
torch.func the network is the composition of torch's operations in message_passing.py, which is also its second
derivative and its gradient for batches of slopes.

Shapes: B batch, \*grid lattice, d its dimension, D = 2d directions, F features of each kind, L layers, E even inputs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from physgen.networks.fused import is_transformed, records
from physgen.networks.native import library

NAMES = {torch.float32: "float32", torch.float64: "float64"}
VECTOR_BYTES = 64  # features must fill the largest registers
LAYER = [  # parameters of a layer, as enum Weights::Kind of passing.h has them before and after those of the whole
    "read.weight", "gate.weight", "message.weight", "even_message.weight", "even_message.bias", "invariant.weight",
    "invariant.bias", "even_out.weight", "even_out.bias", "out_gate.weight", "out_gate.bias", "odd_out.weight",
    "gain.weight", "pull.weight",
]  # fmt: skip
WHOLE = ["odd_in.weight", "even_in.weight", "even_in.bias", "gate.weight", "gate.bias", "head.weight"]
LAST = ["gate.bias", "gain.bias"]  # sizes that are no multiple of a vector
TURNED = ("read.weight", "odd_in.weight", "even_in.weight")  # whose slopes come out as (in, out)
GIVEN = 6  # tensors of Features


@dataclass(frozen=True)
class Features:
    r"""What enters the layers.

    Attributes:
        odd, even: (2, B, \*grid), (E, B, \*grid). field: (B, \*grid). bonds: tanh K (D, B, \*grid).
        modulation: gain and bias of each layer (B, L, 2, F). scale: (B,), of messages that odd features read.
    """

    odd: Tensor
    even: Tensor
    field: Tensor
    bonds: Tensor
    modulation: Tensor
    scale: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """All of them, in order."""
        return self.odd, self.even, self.field, self.bonds, self.modulation, self.scale


def has_kernel(x: Tensor, weight: Tensor) -> bool:
    """Whether passing.cpp takes fields like x and weights like ``weight`` (F, ...) here and now."""
    if x.device.type != "cpu" or weight.device.type != "cpu" or not x.numel():
        return False
    if x.dtype not in NAMES or weight.dtype != x.dtype or len(weight) * x.element_size() % VECTOR_BYTES:
        return False
    return not is_transformed() and library() is not None


def passed(network: Any, features: Features) -> Tensor:
    r"""``network.composed(features)``, (B, \*grid), by passing.cpp; for what :func:`has_kernel`."""
    given = [tensor.to(features.field.dtype).contiguous() for tensor in features.tensors()]
    names, parameters = _parameters(network)
    if records(*given, *parameters):
        value: Tensor = _Passed.apply(network, names, *given, *parameters)
        return value
    return _Call(network, given, _flat(parameters)).forward(None)


def _parameters(network: Any) -> tuple[list[str], list[Tensor]]:
    """Names and values in the order of passing.h."""
    found = dict(network.named_parameters())
    layers = range(network.options.depth)
    names = [f"layers.{layer}.{name}" for name in LAYER for layer in layers]
    names += [*WHOLE, *(f"layers.{layer}.{name}" for name in LAST for layer in layers)]
    return names, [found[name] for name in names]


def _flat(parameters: Sequence[Tensor]) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


class _Shape(ctypes.Structure):
    _fields_ = [
        ("batch", ctypes.c_int64), ("dimension", ctypes.c_int64), ("sizes", ctypes.c_int64 * 3),
        *((name, ctypes.c_int64) for name in ("width", "layers", "iterations", "inputs", "threads")),
        ("damping", ctypes.c_double),
    ]  # fmt: skip


class _Call:
    """The library, and the arguments of a call of passing.cpp that forward and backward share."""

    def __init__(self, network: Any, given: Sequence[Tensor], weights: Tensor) -> None:
        self.library, self.given, self.weights = library(), given, weights
        odd, even, self.field, bonds, modulation, scale = given
        batch, *grid = self.field.shape
        sizes = (ctypes.c_int64 * 3)(*grid, *[1] * (3 - len(grid)))
        layers, width = modulation.shape[1], modulation.shape[3]
        options, threads = network.options, torch.get_num_threads()
        self.shape = _Shape(
            batch, len(grid), sizes, width, layers, options.iterations, len(even), threads, options.damping
        )

    def saved(self) -> Tensor:
        """Memory for what the gradient needs of the way forward."""
        size = self._function("saved", ctypes.c_int64)(ctypes.byref(self.shape))
        return torch.empty(size, dtype=self.field.dtype)

    def forward(self, saved: Tensor | None) -> Tensor:
        """The output; what the gradient needs goes into ``saved``."""
        out = torch.empty_like(self.field)
        inputs = _addresses([*self.given, self.weights])
        self._function("forward")(ctypes.byref(self.shape), inputs, _address(out), _address(saved))
        return out

    def backward(self, slope: Tensor, saved: Tensor, of_inputs: bool, of_weights: bool) -> list[Tensor | None]:
        """Slopes of all that was given, then of the weights; those of odd and even, and of weights, where wanted."""
        slope = slope.to(self.field.dtype).contiguous()
        slopes = [torch.empty_like(tensor) for tensor in (*self.given, self.weights)]
        wanted = [of_inputs, of_inputs, True, True, True, True, of_weights]
        found = [tensor if want else None for tensor, want in zip(slopes, wanted, strict=True)]
        inputs = _addresses([*self.given, self.weights])
        arguments = _address(slope), _address(saved), _addresses(found)
        self._function("backward")(ctypes.byref(self.shape), inputs, *arguments)
        return found

    def _function(self, name: str, result: Any = None) -> Any:
        function = getattr(self.library, f"passing_{name}_{NAMES[self.field.dtype]}")
        function.restype = result
        return function


def _address(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _addresses(tensors: Sequence[Tensor | None]) -> Any:
    """A struct of pointers."""
    return (ctypes.c_void_p * len(tensors))(*(None if t is None else t.data_ptr() for t in tensors))


class _Passed(torch.autograd.Function):
    """:func:`passed` with a gradient. A second derivative goes through the composition."""

    @staticmethod
    def forward(ctx: Any, network: Any, names: list[str], *tensors: Tensor) -> Tensor:
        ctx.network, ctx.names = network, names
        given, parameters = tensors[:GIVEN], tensors[GIVEN:]
        weights = _flat(parameters)
        call = _Call(network, given, weights)
        saved = call.saved()
        ctx.save_for_backward(weights, saved, *tensors)
        return call.forward(saved)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        weights, saved, *tensors = ctx.saved_tensors
        if torch.is_grad_enabled() or torch._C._functorch.is_legacy_batchedtensor(slope):
            # create_graph, or a batch of slopes at once (is_grads_batched)
            return None, None, *_slopes_of_composition(ctx.network, ctx.names, tensors, slope)
        call = _Call(ctx.network, tensors[:GIVEN], weights)
        needed = ctx.needs_input_grad[2:]
        *of_given, of_weights = call.backward(slope, saved, any(needed[:2]), any(needed[GIVEN:]))
        parameters = tensors[GIVEN:]
        of_parameters = [None] * len(parameters) if of_weights is None else _split(of_weights, ctx.names, parameters)
        return None, None, *of_given, *of_parameters


def _split(flat: Tensor, names: list[str], parameters: Sequence[Tensor]) -> list[Tensor | None]:
    """The slope of each parameter in that of all, as views."""
    slopes: list[Tensor | None] = []
    pieces = flat.split([parameter.numel() for parameter in parameters], dim=-1)
    for name, parameter, piece in zip(names, parameters, pieces, strict=True):
        if name.endswith(TURNED):
            slopes.append(piece.unflatten(-1, tuple(reversed(parameter.shape))).mT)
        else:
            slopes.append(piece.unflatten(-1, tuple(parameter.shape)))
    return slopes


class _Composition(nn.Module):
    """``network.composed`` as a module, so that torch can call it with other parameters."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *given: Tensor) -> Tensor:
        value: Tensor = self.network.composed(Features(*given))  # type: ignore[operator]
        return value


def _slopes_of_composition(
    network: Any, names: list[str], tensors: Sequence[Tensor], slope: Tensor
) -> list[Tensor | None]:
    """What backward returns for the tensors, with a graph where gradients are enabled."""
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        # as views: even inputs are made of odd ones, whose slope here is that of the network alone
        views = [tensor.view_as(tensor) for tensor in tensors]
        parameters = {f"network.{name}": value for name, value in zip(names, views[GIVEN:], strict=True)}
        y = torch.func.functional_call(_Composition(network), parameters, tuple(views[:GIVEN]))
    wanted = [view for view in views if view.requires_grad]
    slopes = iter(torch.autograd.grad(y, wanted, slope, create_graph=keep, allow_unused=True))
    return [next(slopes) if view.requires_grad else None for view in views]
