"""The exception for mistakes of the user, and the words of exceptions."""

import re

MOST_CHARACTERS = 300
"""The length of the longest message that commands print."""

# The length to which words are shortened: first paths, then other words, such as values, and then
# paths again, so that the values that were expected stay.
_SHORTEST = (("/", 40), ("", 40), ("/", 20))
_KEPT = 200  # characters of the end of a message, from the word "expected" on

# Control characters, line and paragraph separators, and halves of characters: none can be printed
# in one line.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class UserError(ValueError):
    """An input of the user that cannot be used.

    The message is one line. It names the file, option or value, the values expected and, if there
    is one, the way out. The commands print it and exit with status 2. In a script it is a plain
    `ValueError`.
    """


def first_line(error: BaseException) -> str:
    """Returns the first line of an exception's message; its type if it has no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def one_line(message: str) -> str:
    r"""Returns a message as commands print it: in one line of at most 300 characters.

    Line breaks between its words become spaces. Other characters that are no print, such as those
    in the name of a file, become escapes such as \x00. If it is too long, the longest words lose
    their middle: paths first, then values. If that is not enough, the message loses its own, and
    keeps what was expected.
    """
    message = re.sub(r"\s*\n\s+", " ", message.strip())
    message = _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], message)
    for part, least in _SHORTEST:
        message = _with_shorter_words(message, part, least)
    excess = len(message) - MOST_CHARACTERS
    if excess <= 0:
        return message
    before, expected, after = message.rpartition(" expected ")
    if before and len(expected + after) <= _KEPT:
        return shortened(before, len(before) - excess) + expected + after
    return shortened(message, MOST_CHARACTERS)


def _with_shorter_words(message: str, part: str, least: int) -> str:
    """Shortens the longest words that have a part, to some length at least, as far as needed."""
    words = message.split(" ")
    while len(message) > MOST_CHARACTERS:
        chosen = [index for index, word in enumerate(words) if part in word]
        longest = max(chosen, key=lambda index: len(words[index]), default=None)
        if longest is None or len(words[longest]) <= least:
            break
        # Step by step, so that words of equal length are shortened alike.
        length = len(words[longest])
        most = max(least, length - (len(message) - MOST_CHARACTERS), 9 * length // 10)
        words[longest] = shortened(words[longest], most)
        message = " ".join(words)
    return message


def shortened(text: str, most: int) -> str:
    """Returns a text of at most `most` characters, at least 3, without its middle if longer."""
    if len(text) <= most:
        return text
    end = most // 2
    return f"{text[: most - 1 - end]}…{text[-end:]}"
