"""The journal: nothing lost, no step twice."""

import errno
import json
import math
import os

import pytest

from physgen.errors import InputError
from physgen.tracking.journal import DISCARDED, JOURNAL, Journal, read_journal, read_validation
from physgen.tracking.shipped import Shipped, read_shipped, write_shipped


def steps(run):
    return [entry["step"] for entry in read_journal(run) if "step" in entry]


def test_numbers_keep_every_bit(tmp_path):
    values = [0.1 + 0.2, 1e-308, float("inf"), 1 / 3]
    with Journal(tmp_path) as journal:
        for step, value in enumerate(values):
            journal.log(step, {"x": value})
        journal.log(9, {"x": float("nan")})
    read = [entry["metrics"]["x"] for entry in read_journal(tmp_path)]
    assert [value.hex() for value in read[:-1]] == [value.hex() for value in values]
    assert math.isnan(read[-1])


def test_a_line_torn_by_a_kill_is_ignored_and_then_removed(tmp_path):
    with Journal(tmp_path) as journal:
        journal.log(1, {"x": 1})
    with open(tmp_path / JOURNAL, "a") as file:
        file.write('{"step": 2, "metr')
    assert steps(tmp_path) == [1]
    with Journal(tmp_path) as journal:
        journal.log(2, {"x": 2})
    assert steps(tmp_path) == [1, 2]


def test_a_damaged_line_is_reported_and_the_others_are_read(tmp_path, capsys):
    with Journal(tmp_path) as journal:
        for step in (1, 2, 3):
            journal.log(step, {"x": step})
    data = bytearray((tmp_path / JOURNAL).read_bytes())
    data[data.index(b'"step": 2') + 7] = 0xFF
    (tmp_path / JOURNAL).write_bytes(data)
    assert steps(tmp_path) == [1, 3]
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("offset_is_lost", [False, True])
def test_rewind_removes_later_steps_keeps_events_and_what_was_cut(tmp_path, offset_is_lost):
    with Journal(tmp_path) as journal:
        journal.log(1, {"x": 1})
        journal.log(2, {"x": 2})
        offset = journal.sync()
        journal.log(3, {"x": 3})
        journal.event("tags", tags={"a": "b"})
        journal.log(2, {"eval/x": 5})
        journal.event("figure", step=3)
    with Journal(tmp_path) as journal:
        assert journal.rewind(2, 10**9 if offset_is_lost else offset) == 2
        assert journal.last_step == 2
        journal.log(3, {"x": 30})
    entries = read_journal(tmp_path)
    assert [entry.get("event", entry.get("step")) for entry in entries] == [1, 2, "tags", 2, "rewind", 3]
    assert entries[-1]["metrics"] == {"x": 30.0}
    cut = [json.loads(line) for line in (tmp_path / DISCARDED).read_text().splitlines()]
    assert [line["step"] for line in cut] == [3, 3]


def test_rewind_moves_the_shipped_offset_with_the_lines(tmp_path):
    with Journal(tmp_path) as journal:
        journal.log(1, {"x": 1})
        first = journal.offset
        journal.log(2, {"x": 2})
        journal.event("note", text="sent")
        sent = journal.offset
        journal.event("note", text="not yet sent")
        write_shipped(tmp_path, "uri", Shipped("id", {JOURNAL: sent}, {"x": 2}))
        journal.rewind(1, first)
    state = read_shipped(tmp_path)["uri"]
    rest = (tmp_path / JOURNAL).read_bytes()[state.offsets[JOURNAL] :].splitlines()
    assert [json.loads(line).get("text", "rewind") for line in rest] == ["not yet sent", "rewind"]
    assert state.skip == {"x": 2}


def test_rewind_without_a_checkpoint_starts_the_steps_anew(tmp_path):
    with Journal(tmp_path) as journal:
        journal.event("params", params={})
        journal.log(1, {"x": 1})
    with Journal(tmp_path) as journal:
        assert journal.rewind(0) == 1
        journal.log(1, {"x": 1})
    assert steps(tmp_path) == [1]


def test_two_writers_of_one_run_are_refused(tmp_path):
    with Journal(tmp_path), pytest.raises(InputError, match="another process"):
        Journal(tmp_path)
    Journal(tmp_path).close()


def test_an_inert_journal_writes_nothing_and_still_counts(tmp_path):
    journal = Journal(tmp_path / "run", write=False)
    journal.log(7, {"x": 1})
    journal.event("note")
    assert (journal.last_step, journal.sync(), journal.rewind(3)) == (7, 0, 0)
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_one_message_and_the_journal_stays_whole(tmp_path, monkeypatch):
    real = os.write

    def full(descriptor, data):
        real(descriptor, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal(tmp_path) as journal:
        journal.log(1, {"x": 1})
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(InputError, match="No space left.*free space"):
            journal.log(2, {"x": 2})
        monkeypatch.undo()
        journal.log(2, {"x": 2})
    assert steps(tmp_path) == [1, 2]


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Journal(tmp_path / "file" / "run")


def test_the_last_validation_is_read_by_level_and_taken_back_with_its_step(tmp_path):
    columns = ("level", "loss", "ratio", "error")
    assert read_validation(tmp_path) == dict.fromkeys(columns, [])
    first, last = ({name: [0.1 * n, float("inf")] for name in columns} for n in (1, 2))
    with Journal(tmp_path) as journal:
        journal.event("validation", step=0, **first)
        journal.event("validation", step=10, **last)
    assert read_validation(tmp_path) == last
    with Journal(tmp_path) as journal:
        journal.rewind(5)
    assert read_validation(tmp_path) == first
