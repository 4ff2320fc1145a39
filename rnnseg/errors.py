"""The exception for mistakes of the user."""


class UserError(ValueError):
    """An input of the user that cannot be used.

    The message is one line, or a short list. It names the file, option or value, the values
    expected and, if there is one, the way out. The commands print it and exit with status 2. In a
    script it is a plain `ValueError`.
    """
