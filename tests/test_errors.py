import pytest

from rnnseg.errors import MOST_CHARACTERS, first_line, one_line, shortened


@pytest.mark.parametrize(
    "message, printed",
    [
        ("a file: missing", "a file: missing"),
        ("two\n  lines\n", "two lines"),
        ("a\nname: missing", r"a\nname: missing"),
        ("a\r\tb\x1b[31m", r"a\r\tb\x1b[31m"),
        ("a\0b", r"a\x00b"),
        ("a\u2028b", r"a\u2028b"),
        ("a\udcffb", r"a\udcffb"),
        ("größe 画像 🙂", "größe 画像 🙂"),
    ],
)
def test_a_message_is_one_line_that_can_be_printed(message, printed):
    assert one_line(message) == printed
    printed.encode()


def test_a_long_message_loses_the_middle_of_long_words():
    message = f"file.json: {'9' * 5000} is no number, expected one; make it anew"
    printed = one_line(message)
    assert len(printed) == MOST_CHARACTERS == 300
    assert printed.startswith("file.json: 999")
    assert printed.endswith("999 is no number, expected one; make it anew")
    assert one_line("9" * 300) == "9" * 300
    assert len(one_line("9" * 301)) == len(one_line("a b " * 1000)) == 300


def test_long_paths_keep_their_names():
    paths = [f"/{'a' * 150}/{name}.png" for name in "xyz"]
    printed = one_line(f"{paths[0]} and {paths[1]} and {paths[2]}: expected one")
    assert len(printed) <= 300 and printed.endswith(": expected one")
    assert all(f"/{name}.png" in printed for name in "xyz")


def test_paths_are_shortened_before_values():
    values = ",".join(map(str, range(1000, 1020)))
    paths = [f"/{'a' * 150}/{name}.png" for name in "xy"]
    printed = one_line(f"{paths[0]} and {paths[1]}: expected one of {values}")
    assert len(printed) <= 300 and printed.endswith(f": expected one of {values}")
    assert all(f"/{name}.png" in printed for name in "xy")


@pytest.mark.parametrize("folder", ["my own photographs of the year/", "a" * 60 + "/"])
def test_what_was_expected_is_kept_in_the_longest_messages(folder):
    paths = [5 * folder + name for name in ("x.png", "y.png")]
    values = ", ".join(f"value{number}" for number in range(18))
    printed = one_line(f"{paths[0]} and {paths[1]} are not alike: expected one of {values}")
    assert len(printed) <= 300 and printed.endswith(f" expected one of {values}")
    assert printed.startswith(folder[:8])


@pytest.mark.parametrize("most", [3, 4, 10, 11])
def test_a_shortened_text_has_the_length(most):
    text = shortened("abcdefghijklmn", most)
    assert len(text) == most and text[0] == "a" and "…" in text
    assert shortened("a" * most, most) == "a" * most


def test_the_first_line_of_an_exception():
    assert first_line(ValueError("\nwrong\nthere")) == "wrong"
    assert first_line(ValueError()) == "ValueError"
