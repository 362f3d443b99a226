"""Vectors in d dimensions, of laws that are known exactly or from a table."""

from physgen.domains.points.domain import Points

Domain = Points

__all__ = ["Domain", "Points"]
