"""Nested training state as safetensors and JSON: no pickle, every bit kept."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

STATE_FILE = "state.json"
_TAGS = ("tensor", "array", "tuple", "pairs", "bytes")


def _encode(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """JSON tree of value; its tensors go into ``tensors`` under their path."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    while name in tensors:  # {"a/b": x} beside {"a": {"b": y}}
        name += "+"
    if isinstance(value, torch.Tensor):
        # a copy: safetensors refuses tensors that share memory
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, np.ndarray):
        tensors[name] = torch.from_numpy(np.array(value, order="C"))
        return {"array": name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value) and not (len(value) == 1 and next(iter(value)) in _TAGS):
            return {key: _encode(item, f"{name}/{key}", tensors) for key, item in value.items()}
        return {
            "pairs": [
                [_encode(key, name, tensors), _encode(item, f"{name}/{key}", tensors)] for key, item in value.items()
            ]
        }
    if isinstance(value, (list, tuple)):
        items = [_encode(item, f"{name}/{index}", tensors) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    raise TypeError(f"{name} is a {type(value).__name__}; a state holds tensors, arrays, numbers, strings, lists")


def _decode(tree: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(tree, list):
        return [_decode(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        tag, item = next(iter(tree.items()))
        if tag == "tensor":
            return tensors[item]
        if tag == "array":
            return tensors[item].numpy()
        if tag == "tuple":
            return tuple(_decode(part, tensors) for part in item)
        if tag == "pairs":
            return {_decode(key, tensors): _decode(part, tensors) for key, part in item}
        if tag == "bytes":
            return bytes.fromhex(item)
    return {key: _decode(item, tensors) for key, item in tree.items()}


def state_bytes(state: Any) -> int:
    """Bytes that the tensors and arrays of a nested state take."""
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, np.ndarray):
        return state.nbytes
    if isinstance(state, Mapping):
        return sum(map(state_bytes, state.values()))
    if isinstance(state, (list, tuple)):
        return sum(map(state_bytes, state))
    return 0


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write ``state.json`` and, for each top-level key that holds tensors, ``<key>.safetensors``.

    Raises:
        TypeError: a value that is neither tensor, array, number, string, None, bytes, list, tuple nor dict.
    """
    tree = {}
    for key, value in state.items():
        tensors: dict[str, torch.Tensor] = {}
        tree[key] = _encode(value, key, tensors)
        if tensors:
            save_file(tensors, folder / f"{key}.safetensors")
    (folder / STATE_FILE).write_text(json.dumps(tree))


def read_state(folder: Path) -> dict[str, Any]:
    """Read what :func:`write_state` wrote; tensors come on the CPU."""
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors.update(load_file(path))
    return {key: _decode(value, tensors) for key, value in json.loads((folder / STATE_FILE).read_text()).items()}
