"""The library of compiled kernels: where it can be made, it is; the tests of the kernels are skipped without it."""

import shutil

import pytest

from physgen.networks import native


@pytest.mark.skipif(not any(map(shutil.which, native.COMPILERS)), reason="no C++ compiler")
def test_where_there_is_a_compiler_there_are_kernels():
    assert native.library() is not None


def test_every_source_is_part_of_its_name():
    folder = native.SOURCES[0].parent
    assert set(native.SOURCES) == {*folder.glob("*.cpp"), *folder.glob("*.h")}
