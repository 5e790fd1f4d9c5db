"""The one exception that means "the input is at fault, not the program"."""


class InputError(ValueError):
    """Bad input, told in one clear sentence that names the thing and the remedy.

    The command line prints the sentence without a traceback and exits with status 2.
    """
