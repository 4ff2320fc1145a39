"""The one exception that stands for a mistake of the user's."""


class UserError(ValueError):
    """Something the user gave cannot be used.

    The message is one line (or a short list) that names the file, option or value, says what was
    expected and, where there is one, the way out. The commands print it and end with status 2; in a
    script it is a plain `ValueError`.
    """
