"""The one kind of error a user can cause."""


class UserError(Exception):
    """Bad input. One line that names the file, row or option and says what would fit; exit code 2."""


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line; its name if it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
