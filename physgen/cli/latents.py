"""The commands that turn an ensemble into one of latents and back: encode and decode."""

from __future__ import annotations

import argparse
from pathlib import Path

from physgen.cli.words import command
from physgen.progress import progress_bar

NUMBERS = {
    "channels": (int, 1, "channels of the latent"),
    "factor": (int, 2, "sites of the lattice, along each axis, for one of the latent: a power of two"),
    "width": (int, 16, "channels of the convolutions; 0 for the Fourier truncation alone, which needs no training"),
    "steps": (int, 1000, "of its training"),
    "seed": (int, 0, "of its training"),
}


def add_latents(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The arguments of ``encode`` and ``decode``."""
    encode = commands.add_parser(
        "encode",
        help="an ensemble of real fields as one of latents, by a periodic autoencoder that is trained on it",
        epilog="Encode the training part of a run alone (runs/NAME/data/train.h5), so that its test part stays unseen. "
        "Then: physgen train with domain: any_field and dataset=LATENTS, physgen sample, physgen decode.",
    )
    encode.add_argument("fields", type=Path, metavar="FIELDS", help="an ensemble")
    encode.add_argument("-o", "--output", type=Path, required=True, metavar="LATENTS", help="a new file")
    encode.add_argument(
        "--autoencoder", type=Path, metavar="DIR", help="use this one (default: train one, LATENTS-autoencoder)"
    )
    for name, (kind, value, text) in NUMBERS.items():
        encode.add_argument(f"--{name}", type=kind, default=value, metavar="N", help=f"{text} (default: {value})")

    decode = commands.add_parser("decode", help="the fields of an ensemble of latents, in physical units")
    decode.add_argument("latents", type=Path, metavar="LATENTS", help="an ensemble of latents, e.g. drawn ones")
    decode.add_argument("--autoencoder", type=Path, required=True, metavar="DIR", help="what `physgen encode` wrote")
    decode.add_argument("-o", "--output", type=Path, required=True, metavar="FIELDS", help="a new file")
    decode.add_argument(
        "--residual", action="store_true", help="add a Gaussian field of the power that the autoencoder loses"
    )
    decode.add_argument("--seed", type=int, default=0, metavar="S", help="of that field (default: 0)")


def encode_command(arguments: argparse.Namespace) -> None:
    """physgen encode: train an autoencoder, say what it loses, write latents."""
    from physgen.stages import LatentOptions, encode_file, information_table

    options = LatentOptions(**{name: getattr(arguments, name) for name in NUMBERS})
    folder, model = encode_file(
        arguments.fields, arguments.output, options, arguments.autoencoder, progress_bar("encode")
    )
    told = information_table(model)
    print(f"{told}\nof units that the autoencoder was not trained on" if told else "", end="\n" if told else "")
    print(f"wrote {arguments.output}" + ("" if arguments.autoencoder else f" and {folder}"))
    print(f"next: {command('train', 'CONFIG', f'dataset={arguments.output}')}, with domain: any_field in CONFIG")


def decode_command(arguments: argparse.Namespace) -> None:
    """physgen decode: latents become fields in physical units."""
    from physgen.stages import decode_file

    path = decode_file(arguments.latents, arguments.autoencoder, arguments.output, arguments.residual, arguments.seed)
    print(f"wrote {path}\nnext: {command('evaluate', path, '--reference', 'FILE')}")
