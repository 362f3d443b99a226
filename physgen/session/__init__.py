"""physgen in a Python session: train, open a run, draw, judge. Datasets in memory, arrays and paths are taken alike.

Each function calls the stage that the command line calls; files are written only where a run needs them.
"""

from typing import TYPE_CHECKING

from physgen.lazy import attach

if TYPE_CHECKING:
    from physgen.session.inferring import infer as infer
    from physgen.session.inferring import likelihood as likelihood
    from physgen.session.judging import certify as certify
    from physgen.session.judging import compare as compare
    from physgen.session.judging import evaluate as evaluate
    from physgen.session.judging import regimes as regimes
    from physgen.session.making import import_files as import_files
    from physgen.session.making import simulate as simulate
    from physgen.session.making import train as train
    from physgen.session.run import OpenRun as OpenRun
    from physgen.session.run import open_run as open_run

__getattr__, __dir__, __all__ = attach(__name__, __file__)
