"""The tab, in TensorBoard and by itself, in headless Chromium."""

import dataclasses
import itertools
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

from rnnseg.dashboard.images import make_strip, read_images
from rnnseg.dashboard.writing import run_folder, write_evaluation
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.models.baselines.deeplabv3 import DeepLabV3
from tests.dashboard.chromium import browser
from tests.support.models import make_lively_model
from tests.support.sources import halves, make_source

HOSTILE = "<img src=x onerror=\"document.title='broken'\">"
ITERATIONS = range(1, 7)
BEST = 5
ENTER, ARROW_LEFT, ARROW_RIGHT = "\ue007", "\ue012", "\ue014"  # as WebDriver writes keys


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    """Evaluations of a recurrent model, whose curve rises up to `BEST`, and a feed-forward one."""
    folder = tmp_path_factory.mktemp("logs")
    source = make_source({"val": halves(3)}, class_names=("left", HOSTILE, "top"))
    options = {"num_classes": 3, "class_names": source.class_names}
    deeplab = DeepLabV3(**options, encoder="small_cnn", encoder_weights=None, output_stride=8)
    models = {"rnn": make_lively_model(**options), HOSTILE.replace("/", ""): deeplab}
    for name, model in models.items():
        evaluator = Evaluator(model, ITERATIONS if model.recurrent else (1,))
        evaluation = evaluator(source, "val", progress=False)
        right = [n if n <= BEST else 2 * BEST - n for n in evaluation.iterations]
        confusion = [n * np.eye(3, dtype=int) + 3 for n in right]
        evaluation = dataclasses.replace(evaluation, confusion=np.array(confusion))
        images = read_images(source, "val", 3)
        strips = [make_strip(evaluator, image, model.colors) for image in images]
        write_evaluation(run_folder(folder, f"{name}.keras", "val"), evaluation, model, strips)
    return folder


@pytest.fixture(scope="module")
def address(logdir):
    """The address of a TensorBoard on a free port."""
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
    """The driver on the page of the tab, without TensorBoard around it, after it has drawn."""
    driver.switch_to.default_content()
    driver.get(f"{address}data/plugin_entry.html?name=rnnseg")
    assert until(lambda: find(driver, ".dot")), driver.page_source
    return driver


@pytest.fixture
def whole(driver, address):
    """The driver inside the tab in TensorBoard."""
    driver.switch_to.default_content()
    driver.get(f"{address}#rnnseg")
    assert until(lambda: find(driver, "iframe")), "no tab: is the installed rnnseg up to date?"
    driver.switch_to.frame(find(driver, "iframe")[0])
    assert until(lambda: find(driver, ".dot")), driver.page_source
    return driver


@pytest.fixture
def window(driver):
    """A function that sets the width of the window for one test, also below that of real ones."""

    def resize(width):
        metrics = {"width": width, "height": 1400, "deviceScaleFactor": 1, "mobile": False}
        drawn = "return [innerWidth, chart.clientWidth - chart.querySelector('svg').clientWidth]"
        script = f"const chart = document.querySelector('.chart'); {drawn}"

        def done():
            # Again every time: while a busy machine still loads the page, the size may get lost.
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            driver.get_screenshot_as_png()  # the page learns of the size when it is drawn
            return driver.execute_script(script) == [width, 0]

        assert until(done), driver.execute_script(script)

    yield resize
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def until(condition, seconds=60):
    """Returns the value of the condition as soon as it is true, or its value at the end."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return value


def find(driver, selector):
    return driver.find_elements("css selector", selector)


def click(driver, selector):
    """Clicks an element that is drawn again at every change of the window."""
    driver.execute_script(
        "document.querySelector(arguments[0]).dispatchEvent(new MouseEvent('click'))", selector
    )


def text(driver, selector):
    return find(driver, selector)[0].text


def move(driver, selector, value):
    """Sets a slider with the event of a user."""
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
    assert titles == ["multiply-adds per image (G)", "mIoU (%)"]


def test_the_best_point_is_chosen_at_first(tab):
    (dot,) = find(tab, ".dot.selected")
    assert dot.get_attribute("data-key").endswith(f"rnn/val/{BEST}")
    assert text(tab, ".heat th.selected") == f"{BEST}"
    assert f"after n = {BEST}" in text(tab, "figcaption")
    assert "most often 40×48" in text(tab, "main")


@pytest.mark.parametrize("width", [400, 1120, 1600])
def test_axes_have_enough_ticks(tab, window, width):
    window(width)
    # At once, since the chart may be drawn again, with new elements, between two calls.
    found = tab.execute_script(
        """
        return ['.x.tick', '.y.tick'].map((selector) =>
          Array.from(document.querySelectorAll(selector), (tick) => {
            const {left, right} = tick.getBoundingClientRect();
            return [tick.textContent, left, right];
          }));
        """
    )
    for ticks in found:
        values = [float(text) for text, _, _ in ticks]
        assert len(values) >= 4 and len({text for text, _, _ in ticks}) == len(values)
        steps = np.diff(values)
        assert steps.min() > 0 and np.ptp(steps) < 1e-6 * np.abs(values).max()
    assert all(one[2] < two[1] for one, two in itertools.pairwise(found[0]))


def test_runs_can_be_told_apart(tab, address):
    count = 28
    looks = tab.execute_async_script(
        """
        const [url, count, done] = arguments;
        import(url).then(({mark, style}) => done([[1], [1, 2]].map((points) => {
          const runs = Array.from({length: count}, () => ({points}));
          return runs.map((run) => {
            const look = style(runs, run);
            return mark(run, look, 9, 9).outerHTML + (points.length > 1 ? look.dash : '');
          });
        })));
        """,
        f"{address}data/plugin/rnnseg/chart.js",
        count,
    )
    assert [len(set(each)) for each in looks] == [count, count]


def test_slider_changes_the_choice_and_the_words(tab, address):
    with urllib.request.urlopen(f"{address}data/plugin/rnnseg/data") as answer:
        (comparison,) = json.load(answer)
    runs = {run["name"]: run for run in comparison["runs"]}
    frontier = comparison["frontier"]["gmacs"]
    assert len(frontier) > 1
    move(tab, "#budget", 0)
    assert not find(tab, ".chart .best")
    assert text(tab, "#verdict").startswith("No point within")
    for name, iterations in frontier:
        find(tab, "#budget")[0].send_keys(ARROW_RIGHT)
        (point,) = [each for each in runs[name]["points"] if each["iterations"] == iterations]
        assert find(tab, ".chart .best")[0].get_attribute("data-key") == f"best:{name}/{iterations}"
        words = text(tab, "#verdict p:first-child")
        assert f"{name}, {iterations} iteration" in words
        assert f"mIoU {100 * point['miou']:.2f} %" in words
    # A budget just below the most expensive point selects the one before it.
    move(tab, "#budget", point["gmacs"] * (1 - 1e-9))
    name, iterations = frontier[-2]
    assert find(tab, ".chart .best")[0].get_attribute("data-key") == f"best:{name}/{iterations}"


def test_milliseconds_take_the_place_of_multiply_adds(tab):
    find(tab, "input[value=milliseconds]")[0].click()
    assert "time per image (ms)" in [each.text for each in find(tab, ".axes .title")]
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


def test_tip_covers_no_dot_of_its_run(tab):
    dots = find(tab, ".dot[data-run$='rnn/val']")
    boxes = [dot.rect for dot in dots]
    for dot in dots:
        tab.execute_script("arguments[0].focus()", dot)
        tip = find(tab, ".tip")[0].rect
        for box in boxes:
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            beside = not tip["x"] < x < tip["x"] + tip["width"]
            assert beside or not tip["y"] < y < tip["y"] + tip["height"]


def test_the_chosen_point_is_marked(tab):
    click(tab, ".dot[data-key$='rnn/val/3']")
    grounds = {
        each.get_attribute("data-key"): each.find_element("css selector", ":first-child")
        for each in find(tab, ".dot")
    }
    clear = "rgba(0, 0, 0, 0)"
    marked = [
        key for key, ground in grounds.items() if ground.value_of_css_property("fill") != clear
    ]
    assert [key.rpartition("rnn/")[2] for key in marked] == ["val/3"]


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


@pytest.mark.parametrize("iterations", ITERATIONS)
def test_chosen_column_and_names_are_in_view(tab, window, iterations):
    window(250)
    click(tab, f".dot[data-key$='rnn/val/{iterations}']")
    table, name, column = (
        find(tab, selector)[0].rect
        for selector in (".scroll", ".heat thead th", ".heat thead th.selected")
    )
    assert name["width"] < table["width"] < find(tab, ".heat")[0].rect["width"]
    assert abs(name["x"] - table["x"]) < 1 and column["x"] >= name["x"] + name["width"] - 1
    assert column["x"] + column["width"] <= table["x"] + table["width"] + 1


def test_without_images_the_classes_have_the_width(tab):
    width = find(tab, ".columns")[0].rect["width"]
    classes = find(tab, "section[aria-label^=IoU]")[0]
    assert classes.rect["width"] < width / 2
    tab.execute_script(
        """
        const [run, load] = [document.querySelector('#run'), window.fetch];
        window.fetch = async (...arguments) => {
          const comparisons = await (await load(...arguments)).json();
          for (const each of comparisons[0].runs) each.images = [];
          return new Response(JSON.stringify(comparisons));
        };
        document.querySelector('.legend input').click();
        """
    )
    assert until(lambda: classes.rect["width"] == width)
    assert "This run has no images." in text(tab, "section[aria-label=Images]")


def test_images_follow_the_iterations(tab):
    def shown():
        images = find(tab, ".layers img")
        loaded = "return arguments[0].every((image) => image.naturalWidth === 48)"
        assert until(lambda: tab.execute_script(loaded, images))
        return [image.get_attribute("src") for image in images]

    before = shown()
    move(tab, "#image-iterations", 0)
    after = shown()
    assert before[1] != after[1] and before[0] == after[0] and before[2:] == after[2:]
    assert "after n = 1" in text(tab, "figcaption")
    assert text(tab, ".heat th.selected") == "1"


def test_names_are_no_html(tab):
    assert not find(tab, "img[src='x']") and tab.title != "broken"
    assert HOSTILE.replace("/", "") in text(tab, ".legend")


def test_reloading_shows_a_new_run(whole, logdir):
    shutil.copytree(next(logdir.glob("*rnn/val")), logdir / "another")
    whole.switch_to.default_content()

    def drawn():
        find(whole, "app-header-reload button")[0].click()
        whole.switch_to.frame(find(whole, "iframe")[0])
        dots = len(find(whole, ".dot[data-run=another]"))
        whole.switch_to.default_content()
        return dots

    assert until(drawn) == len(ITERATIONS)
