"""The command that writes an ensemble for other programs."""

from __future__ import annotations

import argparse

from physgen.cli.commands import _command, _free


def export(arguments: argparse.Namespace) -> None:
    """Write it, and print the command that reads it back."""
    from physgen.stages import export_files

    written = export_files(arguments.format, arguments.ensemble, arguments.output)
    print(f"wrote {', '.join(map(str, written.paths))}")
    if written.back:
        back = _free(arguments.output.with_name(f"{arguments.output.stem}-back.h5"))
        print(f"next, to read it back: {_command('import', *written.back, '-o', back)}")
