"""Headless Chromium, for tests of pages."""

import contextlib
import shutil

import pytest

# Without scroll bars, which taking a screenshot hides: a page would change its width in between.
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--hide-scrollbars --window-size=1300,1400"
).split()


@contextlib.contextmanager
def browser(profile, *flags):
    """Yields selenium's driver of a browser; `profile` is an empty folder for its files."""
    webdriver = pytest.importorskip("selenium.webdriver")
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if not all(programs.values()):
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for flag in (*FLAGS, *flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    # Without the path, selenium would look for a driver by itself.
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs["chromedriver"]))
    try:
        yield driver
    finally:
        driver.quit()
