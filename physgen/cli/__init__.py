"""The command line: it calls a stage, prints what was written and what to do next."""

from physgen.cli.commands import main

__all__ = ["main"]
