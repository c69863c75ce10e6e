"""The one kind of error a user can cause."""


class UserError(Exception):
    """Bad input. One line that names the file, row or option and says what would fit; exit code 2."""
