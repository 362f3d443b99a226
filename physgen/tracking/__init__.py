"""Tracking: the journal is the truth; what is shipped to MLflow is read from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.tracking.journal import Journal as Journal
    from physgen.tracking.journal import read_journal as read_journal
    from physgen.tracking.server import Store as Store
    from physgen.tracking.server import default_tracking_uri as default_tracking_uri
    from physgen.tracking.tracker import Tracker as Tracker
    from physgen.tracking.tracker import sync as sync

__getattr__, __dir__, __all__ = attach(__name__, __file__)
