"""The domain of images: what the rest of physgen asks of it, each answer in a file of its own."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from physgen.diffusion.values import Values
from physgen.domains.contract import Domain
from physgen.domains.images.encoding import GreyValues
from physgen.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch
    import xarray as xr

    from physgen.lattice import Draws


@dataclass(frozen=True)
class Images(Domain):
    """Pictures of rows and columns that are no torus: no translation is a symmetry, and networks pad with zeros."""

    name: ClassVar[str] = "images"
    description: ClassVar[str] = (
        "pictures with or without classes: digits, dead leaves, MNIST, CIFAR, PNG files, arrays"
    )
    values: ClassVar[Values] = GreyValues()
    split_by: ClassVar[str] = "sample"
    array_dimension: ClassVar[int | None] = 2
    learning_settings: ClassVar[tuple[str, ...]] = ("class_condition", "dequantise", "decoded", "flip")
    label_words: ClassVar[str] = "class, a whole number, where the data have one"
    formats: ClassVar[dict[str, str]] = {
        "images_npy": "array .npy (N,H,W), (N,H,W,C), (N,C,H,W); labels=FILE.npy classes, levels=L: 0 ... L - 1",
        "idx": "MNIST: file of images, .gz or not; labels=FILE their classes",
        "cifar": "CIFAR-10 or -100: data_batch_*.bin, or pickles of the python version; fine or coarse labels=",
        "png": "PNG files or folders of them, grey or RGB, all of one size; classes=folders numbers the folders",
    }

    source: Literal["digits", "dead_leaves"] = field(
        default="digits",
        metadata={"help": "handwritten digits of 8 x 8 pixels (scikit-learn), or discs that occlude each other"},
    )
    count: int = field(
        default=0, metadata={"help": "images; of the digits 0 takes all 1797, of dead leaves it is 2000", "min": 0}
    )
    cells: int = field(default=32, metadata={"help": "dead_leaves: pixels along each side", "min": 2, "max": 4096})
    smallest_radius: float = field(
        default=1.0, metadata={"help": "dead_leaves: r_0 of the density r^-3", "unit": "pixel"}
    )
    largest_radius: float = field(
        default=16.0, metadata={"help": "dead_leaves: r_1 of the density r^-3", "unit": "pixel"}
    )
    levels: int = field(
        default=256, metadata={"help": "dead_leaves: grey values 0, 1, ..., levels - 1", "min": 2, "max": 65536}
    )
    class_condition: bool = field(
        default=True, metadata={"help": "draw under a class, where the data have them; false: of all classes together"}
    )
    dequantise: bool = field(
        default=True,
        metadata={"help": "noise uniform over a level is added to whole numbers, so that they have a density"},
    )
    decoded: Literal["levels", "clipped", "raw"] = field(
        default="levels",
        metadata={"help": "what is drawn ends at the nearest level, between the outermost levels, or as it is"},
    )
    flip: bool = field(
        default=False,
        metadata={"help": "left and right are a symmetry of the law: training images are mirrored at random"},
    )

    def __post_init__(self) -> None:
        low, high = float(self.smallest_radius), float(self.largest_radius)
        if not 0 < low < high:
            raise InputError(f"radii from {low:g} to {high:g} pixels: give 0 < smallest_radius < largest_radius")

    # --- ensembles ------------------------------------------------------------------------------

    def simulate(self, seed: int, processes: int = 1, progress: Callable[[int, int], None] | None = None) -> xr.Dataset:
        """The digits in an order of the seed, or independent images of dead leaves."""
        from physgen.domains.contract import with_units
        from physgen.domains.images.arrays import image_ensemble
        from physgen.domains.images.dead_leaves import draw_leaves
        from physgen.domains.images.digits import load_digits

        if self.source == "digits":
            made = load_digits(self.count, seed)
        else:
            radii = (float(self.smallest_radius), float(self.largest_radius))
            drawn = draw_leaves(self.count or 2000, self.cells, radii, self.levels, seed, progress)
            made = image_ensemble(drawn, self.levels)
        config = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return with_units(made.assign_attrs(domain=self.name, seed=int(seed), config_json=config), self)

    @classmethod
    def load(cls, format: str, paths: Sequence[Path], **options: str) -> xr.Dataset:
        """Read pictures from files; see ``load.py``."""
        from physgen.domains.images.load import load_images

        return load_images(format, [Path(path) for path in paths], options).assign_attrs(domain=cls.name)

    @classmethod
    def adopt(cls, ensemble: xr.Dataset, like: xr.Dataset | None = None) -> xr.Dataset:
        """Pictures that name no physics; their levels are those of ``like``, or 256 of 8-bit numbers."""
        from physgen.domains.images.judging import adopted

        return adopted(super().adopt(ensemble, like), like)

    @classmethod
    def facts(cls, ensemble: xr.Dataset) -> dict[str, Any]:
        """Number of images, pixels, components, levels and classes."""
        from physgen.domains.images.judging import image_facts

        return super().facts(ensemble) | image_facts(ensemble)

    # --- the core's view ------------------------------------------------------------------------

    def fit_encoding(self, train: xr.Dataset) -> dict[str, Any]:
        """Mean and standard deviation of each component, levels and classes; not periodic."""
        from physgen.domains.images.encoding import image_constants

        return super().fit_encoding(train) | image_constants(train, self.class_condition, self.dequantise)

    def encode(
        self, ensemble: xr.Dataset, constants: Mapping[str, Any]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """(dequantised and scaled pictures, classes); see ``encoding.py``."""
        from physgen.domains.images.encoding import encode_images

        return encode_images(ensemble, constants), self.condition(ensemble, constants)

    def condition(self, ensemble: xr.Dataset, constants: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """``labels`` (B, K): zeros and a one at the class; {} where classes are no condition."""
        from physgen.domains.images.encoding import class_condition

        return class_condition(ensemble, constants)

    def log_jacobian(self, ensemble: xr.Dataset, constants: Mapping[str, Any]) -> np.ndarray | None:
        """In units of a level, so that bits per value bound those of whole numbers; None of these without noise."""
        from physgen.domains.images.encoding import log_scale

        return log_scale(ensemble, constants)

    def decode(self, x: torch.Tensor, template: xr.Dataset, constants: Mapping[str, Any]) -> xr.Dataset:
        """Pictures under the classes of the template, snapped to their levels as ``decoded`` says."""
        from physgen.domains.images.encoding import at_levels

        return at_levels(super().decode(x, template, constants), constants, self.decoded)

    def request(
        self, like: xr.Dataset, n: int, given: Mapping[str, float], constants: Mapping[str, Any] | None = None
    ) -> xr.Dataset:
        """``n`` pictures under the classes of ``like`` in turn; ``class`` may be given as trained."""
        from physgen.domains.images.arrays import CLASS
        from physgen.domains.images.encoding import check_given, with_class
        from physgen.ensemble import sample_dims

        known = check_given(like, given, constants)
        template = super().request(like, n, {}, constants)
        dims = constants["sample_dims"] if constants else sample_dims(like)
        return with_class(template, dims, given) if known else template.drop_vars(CLASS, errors="ignore")

    def augment(
        self,
        x: torch.Tensor,
        condition: Mapping[str, torch.Tensor],
        draws: Draws,
        constants: Mapping[str, Any] | None = None,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """With ``flip`` every other picture, at random, is mirrored left to right."""
        if not self.flip:
            return x, condition
        import torch

        mirrored = draws.integers(2, (1,)).to(x.device).bool().reshape(-1, *[1] * (x.ndim - 1))
        return torch.where(mirrored, x.flip(-1), x), condition

    # --- judging --------------------------------------------------------------------------------

    def diagnostics(self) -> dict[str, Callable[[xr.Dataset], xr.Dataset]]:
        """Name -> diagnostic; see ``statistics.py`` and, of data with classes, ``classes.py``."""
        from physgen.domains.images.classes import OF_CLASSES
        from physgen.domains.images.statistics import DIAGNOSTICS

        return DIAGNOSTICS | (OF_CLASSES if self.source == "digits" else {})

    def diagnostics_of(self, reference: xr.Dataset) -> dict[str, Callable[[xr.Dataset], xr.Dataset]]:
        """Those of classes where the reference has them."""
        from physgen.domains.images.arrays import CLASS
        from physgen.domains.images.classes import OF_CLASSES
        from physgen.domains.images.statistics import DIAGNOSTICS

        return DIAGNOSTICS | (OF_CLASSES if CLASS in reference.variables else {})

    def confront(self, reference: xr.Dataset, other: xr.Dataset, name: str) -> xr.Dataset:
        """``other``, of equal size and levels, with the classifier that the reference makes; see ``judging.py``."""
        from physgen.domains.images.judging import confronted

        return confronted(reference, super().confront(reference, other, name), name)

    def memorization(self, generated: xr.Dataset, train: xr.Dataset, heldout: xr.Dataset, **judged: Any) -> xr.Dataset:
        """Euclidean distance to the nearest training picture, in place, beside that of held-out ones."""
        from physgen.diagnostics.memorization import memorization

        return memorization(generated, train, heldout, similarity="euclidean", **judged)

    def orbit(self, ensemble: xr.Dataset) -> str:
        """``none``: a picture moved by a pixel is another one."""
        return "none"
