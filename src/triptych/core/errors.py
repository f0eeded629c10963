"""Errors that are the user's to mend."""


class UsageError(ValueError):
    """A command or call that names something unknown or out of range: exit code 2 on the command line."""
