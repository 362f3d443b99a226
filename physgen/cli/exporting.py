"""The command that writes an ensemble for other programs."""

from __future__ import annotations

import argparse

from physgen.cli.words import command, free_path


def export(arguments: argparse.Namespace) -> None:
    """Write it, and print the command that reads it back."""
    from physgen.stages import export_files

    written = export_files(arguments.format, arguments.ensemble, arguments.output)
    print(f"wrote {', '.join(map(str, written.paths))}")
    if written.back:
        back = free_path(arguments.output.with_name(f"{arguments.output.stem}-back.h5"))
        print(f"next, to read it back: {command('import', *written.back, '-o', back)}")
