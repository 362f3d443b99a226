"""Checkpoints: bit for bit, and loud when damaged."""

import errno
import json
import os
import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from physgen.errors import InputError
from physgen.processes.launch import Launch
from physgen.storage import checkpoint, state_files
from physgen.storage.checkpoint import checkpoint_steps, load_checkpoint, save_checkpoint
from physgen.storage.weights import export_weights, load_weights

HERE = Launch()


def state_of(step):
    return {"step": step, "model": {"w": torch.full((1000,), float(step))}}


def save_some(folder, steps, **options):
    for step in steps:
        save_checkpoint(folder, step, state_of(step), HERE, {"journal_offset": 10 * step}, **options)


def loaded_step(folder, step=None):
    state, metadata = load_checkpoint(folder, HERE, step)
    assert (state["model"]["w"] == state["step"]).all()
    assert metadata["journal_offset"] == 10 * state["step"]
    return state["step"]


def test_a_nested_state_returns_bit_for_bit(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(5, 3)).square().sum().backward()
    optimizer.step()
    shared = torch.tensor([float("nan"), -0.0, 1e-45])
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "odd": {
            "shared": [shared, shared],
            "half": torch.ones(2, dtype=torch.bfloat16),
            3: None,
            (1, 2): 0.1 + 0.2,
            "array": np.arange(6.0).reshape(2, 3).T,
            "bytes": b"\x00\xff",
            "tensor": {"tensor": "name"},
            "empty": {},
            "inf": float("inf"),
            "big": 2**70,
            "a/b": shared,
            "a": {"b": torch.ones(1)},
        },
    }
    save_checkpoint(tmp_path, 1, state, HERE, {})
    read, _ = load_checkpoint(tmp_path, HERE)
    for name, value in state["model"].items():
        assert torch.equal(read["model"][name], value)
    assert read["optimizer"]["param_groups"] == state["optimizer"]["param_groups"]
    assert torch.equal(read["optimizer"]["state"][0]["exp_avg"], state["optimizer"]["state"][0]["exp_avg"])
    assert torch.equal(read["rng"], state["rng"])
    odd = read["odd"]
    assert [value.numpy().tobytes() for value in odd["shared"]] == [shared.numpy().tobytes()] * 2
    assert odd["half"].dtype == torch.bfloat16
    assert np.array_equal(odd["array"], state["odd"]["array"])
    for key in (3, (1, 2), "bytes", "tensor", "empty", "inf", "big"):
        assert odd[key] == state["odd"][key]
    assert torch.equal(odd["a"]["b"], torch.ones(1)) and odd["a/b"].numpy().tobytes() == shared.numpy().tobytes()
    fresh = torch.optim.AdamW(model.parameters())
    fresh.load_state_dict(read["optimizer"])


def test_no_file_of_a_checkpoint_is_a_pickle(tmp_path):
    save_some(tmp_path, [1])
    assert {path.suffix for path in (tmp_path / "step-00000001").iterdir()} == {".json", ".safetensors"}


def test_an_object_that_cannot_be_kept_is_refused_by_its_place(tmp_path):
    with pytest.raises(InputError, match="a/0.*object"):
        save_checkpoint(tmp_path, 1, {"a": [object()]}, HERE, {})
    assert load_checkpoint(tmp_path, HERE) is None


def test_the_newest_are_kept(tmp_path):
    save_some(tmp_path, [1, 2, 3, 4, 5], keep_last=2)
    assert checkpoint_steps(tmp_path) == [4, 5]
    assert loaded_step(tmp_path) == 5
    assert loaded_step(tmp_path, 4) == 4
    with pytest.raises(InputError, match=r"no checkpoint of step 2.*\[4, 5\]"):
        load_checkpoint(tmp_path, HERE, 2)


def test_going_on_from_an_earlier_step_gives_up_the_later_ones(tmp_path):
    save_some(tmp_path, [10, 20, 30])
    save_some(tmp_path, [15])
    assert checkpoint_steps(tmp_path) == [10, 15]
    assert loaded_step(tmp_path) == 15


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", [flip, truncate, empty, remove])
def test_each_damage_of_each_file_falls_back_loudly(tmp_path, capsys, damage, name):
    save_some(tmp_path, [1, 2])
    damage(tmp_path / "step-00000002" / name)
    assert loaded_step(tmp_path) == 1
    said = capsys.readouterr().err
    assert "WARNING" in said and "step-00000002 is damaged" in said
    with pytest.raises(InputError, match="no checkpoint .* is whole.*tried steps 2"):
        load_checkpoint(tmp_path, HERE, 2)


def test_every_bit_of_a_manifest_counts(tmp_path):
    save_some(tmp_path, [1])
    path = tmp_path / "step-00000001" / "manifest.json"
    whole = path.read_bytes()
    content = json.dumps(json.loads(whole)["content"])
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            load_checkpoint(tmp_path, HERE)
        except InputError:
            continue
        assert json.dumps(json.loads(path.read_text())["content"]) == content  # a blank between tokens


def test_all_damaged_is_an_error_and_never_a_silent_new_start(tmp_path):
    save_some(tmp_path, [1, 2])
    flip(tmp_path / "step-00000001" / "model.safetensors")
    flip(tmp_path / "step-00000002" / "model.safetensors")
    with pytest.raises(InputError, match="tried steps 2, 1"):
        load_checkpoint(tmp_path, HERE)


def test_a_checkpoint_that_another_rank_cannot_read_is_not_taken(tmp_path, capsys):
    class OtherRankHasLostStep2(Launch):
        votes = [False, True]

        def all_agree(self, vote):
            return vote and self.votes.pop(0)

    save_some(tmp_path, [1, 2])
    state, _ = load_checkpoint(tmp_path, OtherRankHasLostStep2())
    assert state["step"] == 1
    assert "another rank" in capsys.readouterr().err


@pytest.mark.parametrize("pointer", ["", "garbage", "77", None])
def test_a_lost_pointer_costs_nothing(tmp_path, pointer):
    save_some(tmp_path, [1, 2])
    if pointer is None:
        (tmp_path / "latest").unlink()
    else:
        (tmp_path / "latest").write_text(pointer)
    assert loaded_step(tmp_path) == 2


Usage = namedtuple("Usage", "total used free")


def test_too_little_space_is_said_before_anything_is_written(tmp_path, monkeypatch):
    save_some(tmp_path, [1])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**6, 10**6 - 7999, 7999))
    with pytest.raises(InputError, match=r"step 2 was not written.*0\.0 MB are free.*step 1 is untouched.*Free space"):
        save_some(tmp_path, [2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step-00000001"]
    assert loaded_step(tmp_path) == 1


@pytest.mark.parametrize("where", ["write_state", "_write_manifest", "sync_to_disk"])
def test_a_disk_that_fills_up_on_the_way_leaves_the_previous_checkpoint(tmp_path, monkeypatch, where):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    save_some(tmp_path, [1])
    monkeypatch.setattr(checkpoint, where, full)
    with pytest.raises(InputError, match="step 2 was not written.*No space left on device.*step 1 is untouched"):
        save_some(tmp_path, [2])
    monkeypatch.undo()
    assert loaded_step(tmp_path) == 1
    save_some(tmp_path, [2])
    assert loaded_step(tmp_path) == 2


def test_safetensors_own_disk_error_is_explained_too(tmp_path, monkeypatch):
    def full(*_):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(state_files, "save_file", full)
    with pytest.raises(InputError, match="No space left on device"):
        save_some(tmp_path, [1])


def test_a_failure_of_rank_0_is_the_same_error_on_every_rank(tmp_path):
    class Rank1(Launch):
        def broadcast_object(self, value):
            return "the checkpoint of step 1 was not written"

    with pytest.raises(InputError, match="was not written"):
        save_checkpoint(tmp_path / "x", 1, {}, Rank1(rank=1, world_size=2), {})
    assert not (tmp_path / "x").exists()


def test_a_kill_between_the_two_renames_of_a_replacement_loses_nothing(tmp_path):
    save_some(tmp_path, [1])
    os.replace(tmp_path / "step-00000001", tmp_path / "step-00000001.old")
    (tmp_path / "step-00000001.tmp").mkdir()
    assert loaded_step(tmp_path) == 1
    save_some(tmp_path, [1, 2])
    assert sorted(path.name for path in tmp_path.glob("step*")) == ["step-00000001", "step-00000002"]


def test_exported_weights_return_and_a_flipped_bit_is_an_error(tmp_path):
    weights = {"w": torch.randn(50)}
    export_weights(tmp_path, weights, {"width": 3})
    read, model = load_weights(tmp_path)
    assert torch.equal(read["w"], weights["w"]) and model == {"width": 3}
    flip(tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match="sha256"):
        load_weights(tmp_path)
    with pytest.raises(InputError, match="no readable model"):
        load_weights(tmp_path / "nowhere")
