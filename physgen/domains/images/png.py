"""PNG files and folders of them, grey or RGB, of 8 or 16 bits, all of one size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from physgen.errors import InputError

LEVELS = {"L": 256, "1": 2, "RGB": 256, "I;16": 65536, "I": 65536}


def read_png(paths: list[Path], options: Mapping[str, str]) -> tuple[np.ndarray, int, np.ndarray | None]:
    """(pictures (N, H, W) or (N, 3, H, W), levels, classes or None), in the order of the paths, sorted in each folder.

    ``classes=folders``: each path, or each folder in the one that is given, is a class, numbered in that order.
    """
    if options.get("classes", "folders") != "folders":
        raise InputError(f"classes={options['classes']}: classes=folders numbers the folders, else leave it out")
    folders = paths
    if "classes" in options and len(paths) == 1 and paths[0].is_dir():
        folders = sorted(path for path in paths[0].iterdir() if path.is_dir())
        if not folders:
            raise InputError(f"classes=folders: {paths[0]} holds no folders, one for each class")
    files = [(number, file) for number, path in enumerate(folders) for file in _files(path)]
    read = [_read(file) for _, file in files]
    for what, found in (("sizes", [v.shape[-2:] for v, _ in read]), ("kinds", [mode for _, mode in read])):
        if len(set(found)) > 1:
            other = next(i for i, one in enumerate(found) if one != found[0])
            raise InputError(
                f"the images have different {what}: {files[0][1].name} {found[0]}, {files[other][1].name} "
                f"{found[other]}; bring all to one {what[:-1]}"
            )
    classes = np.array([number for number, _ in files]) if "classes" in options else None
    return np.stack([values for values, _ in read]), LEVELS[read[0][1]], classes


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() == ".png")
    if not found:
        raise InputError(f"{path} holds no PNG files: give a folder that does")
    return found


def _read(path: Path) -> tuple[np.ndarray, str]:
    """Values (H, W) or (3, H, W) and the mode; a palette becomes RGB, a fully opaque alpha channel is left out."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=["PNG"]) as picture:
            picture.load()
            opened = picture.copy()
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is no PNG file that can be read ({' '.join(str(error).split())[:120]})") from None
    if opened.mode in ("LA", "RGBA", "P", "PA"):
        full = opened.convert("RGBA")
        if full.getextrema()[-1] != (255, 255):
            raise InputError(f"{path} has transparent pixels, which have no grey value: give it a background")
        opened = full.convert("L" if opened.mode == "LA" else "RGB")
    if opened.mode not in LEVELS:
        raise InputError(f"{path} is of the kind {opened.mode!r}: convert it to grey or RGB")
    values = np.asarray(opened)
    if opened.mode == "1":
        values = values.astype(np.uint8)
    mode = opened.mode
    return np.moveaxis(values, -1, 0) if values.ndim == 3 else values, mode
