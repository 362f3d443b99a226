"""``python -m physgen.cli``: the command line, as torchrun starts it."""

import sys

from physgen.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
