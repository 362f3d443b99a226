"""The one exception a user is meant to read."""


class InputError(ValueError):
    """Input that physgen cannot use.

    The message names the value, the rule it breaks and the remedy; the command line prints it
    alone, without a traceback, and exits with code 2.
    """
