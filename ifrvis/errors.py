"""The errors that speak to the user.

Everything raised on purpose because of what the user gave is a `UserError`: its first sentence says what
to do. The command prints it without a traceback and exits with 2; any other exception is our own mistake.
"""

__all__ = ["DataMissingError", "UserError"]


class UserError(ValueError):
    """Something that the user can put right; the message says where and how."""


class DataMissingError(UserError):
    """Frames, annotations or weights that cannot be made here are not where they are expected."""
