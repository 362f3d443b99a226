"""Files that are whole or not there, and room on the disk."""

import errno
import shutil
from collections import namedtuple

import pytest

from physgen.storage import disk
from physgen.storage.disk import fresh_folder, leftovers, reserve, whole_file, write_atomically

Usage = namedtuple("Usage", "total used free")


def test_a_file_that_fails_half_way_leaves_the_old_one_and_no_rest(tmp_path):
    path = tmp_path / "numbers.txt"
    write_atomically(path, "old")
    with pytest.raises(RuntimeError), whole_file(path) as fresh:
        fresh.write_text("ne")
        raise RuntimeError
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["numbers.txt"]
    with whole_file(path) as fresh:
        fresh.write_text("new")
        assert path.read_text() == "old" and fresh.parent == tmp_path
        assert leftovers(tmp_path, "numbers.*") == [fresh] and leftovers(tmp_path, "other.*") == []
    assert path.read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["numbers.txt"]


def test_files_that_belong_together_take_their_places_together_or_not_at_all(tmp_path, monkeypatch):
    """The named one comes last; where moving it fails, those before it go too."""
    with pytest.raises(RuntimeError), fresh_folder(tmp_path / "a") as folder:
        (folder / "a").write_text("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    moved, rename = [], disk.os.rename

    def failing(source, target):
        moved.append(target.name)
        if target.name == "a":
            raise OSError(errno.EACCES, "no")
        rename(source, target)

    monkeypatch.setattr(disk.os, "rename", failing)
    with pytest.raises(OSError), fresh_folder(tmp_path / "a") as folder:
        (folder / "a").write_text("whole")
        (folder / "table").write_text("whole")
    assert moved == ["table", "a"] and not list(tmp_path.iterdir())


def test_the_content_is_on_the_disk_before_the_file_takes_its_name(tmp_path, monkeypatch):
    order = []
    replace = disk.os.replace
    monkeypatch.setattr(disk, "sync_to_disk", lambda path: order.append(f"sync {path.name.split('.')[-1]}"))
    monkeypatch.setattr(disk.os, "replace", lambda old, new: (order.append("rename"), replace(old, new)))
    write_atomically(tmp_path / "new.txt", b"1")
    assert order == ["sync tmp", "rename", f"sync {tmp_path.name}"]


def test_missing_room_is_told_in_numbers_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**7, 8 * 10**6, 2 * 10**6))
    told = r"3\.0 MB are needed, 2\.0 MB are free"
    with pytest.raises(OSError, match=told) as refused, whole_file(tmp_path / "large.h5", size=3 * 10**6):
        pass
    assert refused.value.errno == errno.ENOSPC and refused.value.filename == str(tmp_path)
    reserve(tmp_path / "small.h5", 10**6)
    assert not list(tmp_path.iterdir())
