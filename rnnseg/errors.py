"""The exception for mistakes of the user, and the words of other exceptions."""


class UserError(ValueError):
    """An input of the user that cannot be used.

    The message is one line, or a short list. It names the file, option or value, the values
    expected and, if there is one, the way out. The commands print it and exit with status 2. In a
    script it is a plain `ValueError`.
    """


def first_line(error: Exception) -> str:
    """Returns the first line of an exception's message; its type if it has no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
