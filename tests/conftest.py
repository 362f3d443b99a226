"""Toy domains for the tests that ask for them."""

from pathlib import Path

import pytest

TOYS = Path(__file__).parent / "toy_domains"


@pytest.fixture(scope="module")
def toy_domains():
    """While a module's tests run, the folders of tests/toy_domains are domains like those that are shipped."""
    import physgen.domains

    physgen.domains.__path__.append(str(TOYS))
    yield sorted(path.parent.name for path in TOYS.glob("*/__init__.py"))
    physgen.domains.__path__.remove(str(TOYS))
