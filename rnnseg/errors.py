"""The exception for mistakes of the user, and the words of exceptions."""

import re

MOST_CHARACTERS = 300
"""The length of the longest message that commands print."""

_SHORTEST = 40  # of a word that is shortened

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
    in the name of a file, become escapes such as \x00. If it is too long, the longest words, which
    are paths and values, lose their middle.
    """
    message = re.sub(r"\s*\n\s+", " ", message.strip())
    message = _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], message)
    words = message.split(" ")
    while len(message) > MOST_CHARACTERS:
        longest = max(range(len(words)), key=lambda index: len(words[index]))
        length = len(words[longest])
        if length <= _SHORTEST:
            return shortened(message, MOST_CHARACTERS)
        # Step by step, so that words of equal length are shortened alike.
        most = max(_SHORTEST, length - (len(message) - MOST_CHARACTERS), 9 * length // 10)
        words[longest] = shortened(words[longest], most)
        message = " ".join(words)
    return message


def shortened(text: str, most: int) -> str:
    """Returns a text of at most `most` characters, at least 3, without its middle if longer."""
    if len(text) <= most:
        return text
    end = most // 2
    return f"{text[: most - 1 - end]}…{text[-end:]}"
