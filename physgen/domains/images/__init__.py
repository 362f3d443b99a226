"""Images: handwritten digits, dead leaves, and foreign sets of pictures, with or without classes."""

from physgen.domains.images.domain import Images

Domain = Images

__all__ = ["Domain", "Images"]
