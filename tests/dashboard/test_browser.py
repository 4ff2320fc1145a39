"""The tab in TensorBoard itself, in headless Chromium."""

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import rnnseg
from rnnseg import cli, data
from tests.models import make_model
from tests.sources import halves, make_source

pytestmark = pytest.mark.slow

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--window-size=1300,1400"
).split()
HOSTILE = "<img src=x onerror=\"document.title='broken'\">"
ITERATIONS = range(1, 7)
ENTER, ARROW_LEFT, ARROW_RIGHT = "\ue007", "\ue012", "\ue014"  # as WebDriver writes keys


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver")
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if not all(programs.values()):
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    # The path keeps selenium from looking for a driver by itself.
    service = webdriver.ChromeService(programs["chromedriver"])
    driver = webdriver.Chrome(options, service)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    """A recurrent model, trained until its curve rises, and a feed-forward one, evaluated."""
    folder = tmp_path_factory.mktemp("runs")
    source = make_source({"val": halves(3)}, class_names=("left", HOSTILE, "top"))
    options = {"num_classes": 3, "class_names": source.class_names}
    model = make_model(**options, iterations=4)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=rnnseg.SegmentationLoss())
    images, labels = map(np.stack, zip(*halves(3), strict=True))
    model.fit(images, labels, batch_size=3, epochs=8, verbose=0)
    model.save(folder / "rnn.keras")
    rnnseg.baselines.deeplabv3.DeepLabV3(
        **options, encoder="small_cnn", encoder_weights=None, output_stride=8
    ).save(folder / f"{HOSTILE.replace('/', '')}.keras")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "open_source", lambda name: source)
        for model, numbers in ((folder / "rnn.keras", "1-6"), (next(folder.glob("<*")), "1")):
            done = CliRunner().invoke(
                cli.main,
                ["evaluate", str(model), "--data", "tiny", "--iterations", numbers,
                 "--tensorboard", str(folder / "logs")],
            )  # fmt: skip
            assert done.exit_code == 0, done.output
            assert "for: tensorboard --logdir" in done.output
    return folder / "logs"


@pytest.fixture(scope="module")
def address(logdir):
    """Of a TensorBoard on a free port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", logdir, "--port", "0",
         "--reload_interval", "1"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    lines = []
    for line in process.stderr:
        lines.append(line)
        if found := re.search(r"http://\S+", line):
            break
    else:
        pytest.fail("TensorBoard does not start: " + "".join(lines))
    yield found[0]
    process.terminate()
    process.wait()


@pytest.fixture
def tab(driver, address):
    """The driver inside the tab, once it has drawn its data."""
    driver.switch_to.default_content()
    driver.get("about:blank")
    driver.get(f"{address}#rnnseg")
    assert until(lambda: find(driver, "iframe")), "no tab: is the installed rnnseg up to date?"
    driver.switch_to.frame(find(driver, "iframe")[0])
    assert until(lambda: find(driver, ".dot")), driver.page_source
    return driver


def until(condition, seconds=60):
    """The condition's value as soon as it is true; what it is in the end otherwise."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return value


def find(driver, selector):
    return driver.find_elements("css selector", selector)


def text(driver, selector):
    return find(driver, selector)[0].text


def move(driver, selector, value):
    """Sets a slider as a hand does."""
    driver.execute_script(
        "arguments[0].value = arguments[1];"
        "arguments[0].dispatchEvent(new Event('input', {bubbles: true}));",
        find(driver, selector)[0],
        value,
    )


def test_every_point_is_a_dot(tab):
    names = {each.get_attribute("data-run") for each in find(tab, ".dot")}
    assert len(names) == 2 and len(find(tab, ".dot")) == len(ITERATIONS) + 1
    assert len(find(tab, ".dot[data-run$='rnn/val']")) == len(ITERATIONS)
    titles = [each.text for each in find(tab, ".axes .title")]
    assert titles == ["multiply-adds a picture (G)", "mIoU (%)"]


def test_slider_changes_the_choice_and_the_words(tab, address):
    with urllib.request.urlopen(f"{address}data/plugin/rnnseg/data") as answer:
        (comparison,) = json.load(answer)
    runs = {run["name"]: run for run in comparison["runs"]}
    frontier = comparison["frontier"]["gmacs"]
    assert len(frontier) > 1
    move(tab, "#budget", 0)
    assert not find(tab, ".best")
    assert text(tab, "#verdict").startswith("Nothing fits into")
    for name, iterations in frontier:
        find(tab, "#budget")[0].send_keys(ARROW_RIGHT)
        (point,) = [each for each in runs[name]["points"] if each["iterations"] == iterations]
        assert find(tab, ".best")[0].get_attribute("data-key") == f"best:{name}/{iterations}"
        words = text(tab, "#verdict p:first-child")
        assert f"{name}, {iterations} iteration" in words
        assert f"mIoU {100 * point['miou']:.2f} %" in words
    # A little less than the dearest buys the one before it.
    move(tab, "#budget", point["gmacs"] * (1 - 1e-9))
    name, iterations = frontier[-2]
    assert find(tab, ".best")[0].get_attribute("data-key") == f"best:{name}/{iterations}"


def test_milliseconds_take_the_place_of_multiply_adds(tab):
    find(tab, "input[value=milliseconds]")[0].click()
    assert "time a picture (ms)" in [each.text for each in find(tab, ".axes .title")]
    assert " ms: " in text(tab, "#verdict")
    assert len(find(tab, ".dot")) == len(ITERATIONS) + 1


def test_keys_go_from_point_to_point(tab):
    (dot,) = find(tab, ".dot[data-key$='rnn/val/6']")
    tab.execute_script("arguments[0].focus()", dot)
    assert "n = 6" in text(tab, ".tip")
    dot.send_keys(ARROW_LEFT)
    tip = text(tab, ".tip")
    assert "n = 5" in tip and "mIoU" in tip and " G multiply-adds" in tip and " ms" in tip
    tab.switch_to.active_element.send_keys(ENTER)
    assert text(tab, ".heat th.selected") == "5"
    assert tab.switch_to.active_element.get_attribute("data-key").endswith("rnn/val/5")


def test_hiding_a_run_takes_it_off_chart_and_frontier(tab):
    (box,) = find(tab, ".legend input[data-run$='rnn/val']")
    box.click()
    assert until(lambda: len(find(tab, ".dot")) == 1)
    assert "DeepLab" not in text(tab, "#verdict") and "1 iteration" in text(tab, "#verdict")
    find(tab, ".legend input[data-run$='rnn/val']")[0].click()
    assert until(lambda: len(find(tab, ".dot")) == len(ITERATIONS) + 1)


def test_classes_by_iteration(tab):
    heads = [each.text for each in find(tab, ".heat thead th")]
    assert heads[1:] == [str(number) for number in ITERATIONS]
    rows = [each.text for each in find(tab, ".heat tbody th")]
    assert rows == ["left", HOSTILE, "top", "mean"]
    find(tab, "input[value=change]")[0].click()
    first = [each.text for each in find(tab, ".heat tbody td:nth-child(2)")]
    assert set(first) <= {"0.0", "–"}


def test_pictures_follow_the_iterations(tab):
    def shown():
        images = find(tab, ".layers img")
        loaded = "return arguments[0].every((image) => image.naturalWidth === 48)"
        assert until(lambda: tab.execute_script(loaded, images))
        return [image.get_attribute("src") for image in images]

    before = shown()
    move(tab, "#picture-iterations", 0)
    after = shown()
    assert before[1] != after[1] and before[0] == after[0] and before[2:] == after[2:]
    assert "after n = 1" in text(tab, "figcaption")
    assert text(tab, ".heat th.selected") == "1"


def test_names_are_no_html(tab):
    assert not find(tab, "img[src='x']") and tab.title != "broken"
    assert HOSTILE.replace("/", "") in text(tab, ".legend")


def test_reloading_shows_a_new_run(tab, logdir):
    shutil.copytree(next(logdir.glob("*rnn/val")), logdir / "another")
    tab.switch_to.default_content()

    def drawn():
        find(tab, "app-header-reload button")[0].click()
        tab.switch_to.frame(find(tab, "iframe")[0])
        dots = len(find(tab, ".dot[data-run=another]"))
        tab.switch_to.default_content()
        return dots

    assert until(drawn) == len(ITERATIONS)
