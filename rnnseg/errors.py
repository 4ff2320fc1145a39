"""The exception for mistakes of the user, and the words of exceptions."""

import re

MOST_CHARACTERS = 300
"""The length of the longest message that commands print."""

# Control characters, line and paragraph separators, and halves of characters: none can be printed
# in one line.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class UserError(ValueError):
    """An input of the user that cannot be used.

    The message is one line. It names the file, option or value, the values expected and, if there
    is one, the way out. The commands print it and exit with status 2. In a script it is a plain
    `ValueError`.
    """


def first_line(error: Exception) -> str:
    """Returns the first line of an exception's message; its type if it has no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def one_line(message: str) -> str:
    r"""Returns a message as commands print it: in one line of at most 300 characters.

    Line breaks between its words become spaces. Other characters that are no print, such as those
    in the name of a file, become escapes such as \\x00. What is too long loses its middle, since
    the file stands at the beginning and the way out at the end.
    """
    message = re.sub(r"\s*\n\s+", " ", message.strip())
    message = _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], message)
    return shortened(message, MOST_CHARACTERS)


def shortened(text: str, most: int) -> str:
    """Returns a text of at most `most` characters, without its middle if it is longer."""
    if len(text) <= most:
        return text
    begin = 2 * (most - 1) // 3
    return f"{text[:begin]}…{text[begin + 1 - most :]}"
