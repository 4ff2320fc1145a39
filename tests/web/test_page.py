"""The page for browsers, in headless Chromium: the same class maps as the runtime's in Python."""

import base64
import contextlib
import functools
import http.server
import io
import json
import os
import pathlib
import shutil
import threading
import time

import matplotlib
import numpy as np
import pytest
from PIL import Image

from rnnseg.exporting.web_page import write_page
from rnnseg.pretrained.names import DEFAULT, names
from rnnseg.runtime import Segmenter
from rnnseg.runtime.letterbox import letterbox
from rnnseg.runtime.pacing import LatencyEstimator, most_iterations
from rnnseg.runtime.reading import read_at
from tests.dashboard.chromium import browser
from tests.support.litert import make_info, make_staged_model, write_anytime, write_segment
from tests.support.models import make_lively_model

PHOTOGRAPH = pathlib.Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
SIZE = (97, 129)
MOST = 6  # iterations
TAB, END, HOME = "\ue004", "\ue010", "\ue011"  # as WebDriver writes keys
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serve(folder):
    """Yields the address of a folder, and a function that ends its server."""
    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def stop():
        server.shutdown()
        thread.join()
        server.server_close()

    try:
        yield f"http://127.0.0.1:{server.server_port}/", stop
    finally:
        if thread.is_alive():
            stop()


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("chromium"), *CAMERA) as driver:
        driver.set_script_timeout(60)
        yield driver


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """A file with three stages of the encoder, a fine canvas and a learned start."""
    return write_anytime(make_staged_model(), SIZE, tmp_path_factory.mktemp("staged"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Another file, with its own name, size and scores."""
    folder = tmp_path_factory.mktemp("plain")
    options = {"miou": {1: 0.25, 4: 0.5, 6: 0.375}, "scored_on": "tiny, val"}
    path = write_anytime(make_lively_model(), (41, 57), folder, **options)
    return path.rename(folder / "anytime_plain.tflite")


@pytest.fixture(scope="module")
def folder(staged, driver, tmp_path_factory):
    if shutil.which("npm") is None:
        pytest.skip("needs npm: apt-get install npm")
    out = tmp_path_factory.mktemp("page") / "page"
    write_page(staged, out)
    return out


@pytest.fixture(scope="module")
def address(folder):
    with serve(folder) as (address, _):
        yield address


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """The photograph in a format that all decoders read alike."""
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.open(PHOTOGRAPH).save(path)
    return path


@pytest.fixture
def page(driver, address):
    driver.get(address)
    wait_for(driver, lambda: text(driver, "status").startswith("Ready"))
    return driver


@pytest.fixture(scope="module")
def shown(driver, address, photograph):
    """The page with a photograph's class map, for tests that change nothing, one after another."""
    driver.get(address)
    wait_for(driver, lambda: text(driver, "status").startswith("Ready"))
    give(driver, photograph)
    segmented(driver)
    return driver


@pytest.fixture
def bare(driver, address):
    """A page of the same folder that loads nothing, for tests of its modules."""
    if driver.current_url != f"{address}LICENSE.txt":
        driver.get(f"{address}LICENSE.txt")
    return driver


def text(driver, name):
    return driver.execute_script("return document.getElementById(arguments[0]).textContent", name)


def wait_for(driver, condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        told = f"status: {text(driver, 'status')}; alert: {text(driver, 'alert')}"
        assert time.monotonic() < end, told
        time.sleep(0.05)


def give(driver, path):
    driver.find_element("id", "file").send_keys(str(path))


def segmented(driver):
    """Waits for a class map and returns the number of its iterations."""
    wait_for(driver, lambda: " in " in text(driver, "status") or text(driver, "alert"))
    assert not text(driver, "alert")
    return int(text(driver, "status").split()[0])


def class_map(driver):
    """The colours of the class map, (H, W, 3)."""
    url = driver.execute_script("return document.getElementById('map').toDataURL('image/png')")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"))


def set_budget(driver, key):
    """Moves the slider to its end or its start by the keyboard, from where it is not yet."""
    driver.execute_script("document.getElementById('status').textContent = ''")
    driver.find_element("id", "budget").send_keys(key)
    return segmented(driver)


def set_largest_budget(driver):
    """Moves the slider to its start and its end until the latter gives more iterations.

    A delay of the machine makes the next predictions careful.
    """
    for _ in range(20):
        assert set_budget(driver, HOME) == 1
        iterations = set_budget(driver, END)
        if iterations > 1:
            return iterations
    pytest.fail("a large budget gives no second iteration")


def equal_share(driver, path, photograph, iterations):
    """The share of pixels that have the colour of the class that Python's runtime gives."""
    segmenter = Segmenter(path)
    image = np.asarray(Image.open(photograph).convert("RGB"))
    expected = segmenter(image, iterations=iterations).classes
    colors = np.array(segmenter.info.colors, np.uint8)
    assert len(np.unique(colors, axis=0)) == len(colors) and len(np.unique(expected)) > 1
    return (class_map(driver) == colors[expected]).all(-1).mean()


def call(driver, module, body, *arguments):
    """Calls JavaScript with a module of the page, `m`, and arguments in JSON, `a`."""
    script = (
        "const [module, a, done] = arguments;"
        f"import(module).then((m) => {{ {body} }}).then(done, (error) => done(String(error)))"
    )
    return driver.execute_async_script(script, f"./{module}", json.loads(json.dumps(arguments)))


def test_the_legend_and_the_times_are_those_of_the_class_map(shown, staged):
    iterations = int(text(shown, "status").split()[0])
    info = Segmenter(staged).info
    image = class_map(shown)
    rows = shown.find_elements("css selector", "#legend li")
    shares = {}
    for row in rows:
        name, share = row.text.splitlines()
        shares[name] = float(share.removesuffix(" %"))
        swatch = row.find_element("css selector", ".swatch")
        color = swatch.value_of_css_property("background-color")
        rgb = tuple(int(each) for each in color[color.index("(") + 1 : -1].split(",")[:3])
        assert rgb == tuple(info.colors[info.classes.index(name)])
        assert shares[name] == pytest.approx(100 * (image == rgb).all(-1).mean(), abs=0.06)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    table = [row.text.split() for row in shown.find_elements("css selector", "#stages tr")]
    stages = 1 + sum(each < iterations for each in np.cumsum(info.early_iterations))
    calls = {"scale": 1, "encode": stages, "refine": iterations, "read": 1}
    assert {name: int(number) for name, number, _ in table} == calls
    total = sum(float(milliseconds) for *_, milliseconds in table)
    assert float(text(shown, "total")) == pytest.approx(total, abs=0.3)


def test_nothing_is_loaded_from_elsewhere(shown, address):
    loaded = shown.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    assert loaded and all(each.startswith(address) for each in loaded)


@pytest.mark.parametrize("width", [320, 600])
def test_narrow_screens_need_no_sideways_scrolling(shown, width):
    try:
        shown.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True},
        )
        sizes = shown.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert sizes == [width, width]
    finally:
        shown.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_everything_to_use_has_a_name_and_is_reached_by_the_keyboard(shown):
    chains = pytest.importorskip("selenium.webdriver").ActionChains
    shown.execute_script("document.activeElement.blur()")
    reached = []
    for _ in range(4):
        chains(shown).send_keys(TAB).perform()
        active = shown.switch_to.active_element
        reached.append(active.get_attribute("id") or active.tag_name)
        assert active.accessible_name
    assert reached == ["file", "camera", "budget", "opacity"]
    label = shown.find_element("id", "map").get_attribute("aria-label")
    assert label.startswith("the class map: ") and "%" in label


@pytest.mark.skipif(DEFAULT not in names(), reason=f"needs the preset {DEFAULT}")
def test_the_default_preset_segments_a_photograph(driver, folder, photograph, tmp_path):
    """With SCREENSHOT=docs/browser.png in the environment it draws a picture for the guide."""
    path = write_page(DEFAULT, tmp_path / "page")
    with serve(tmp_path / "page") as (address, _):
        driver.get(address)
        wait_for(driver, lambda: text(driver, "status").startswith("Ready"))
        give(driver, photograph)
        iterations = segmented(driver)
        assert equal_share(driver, path, photograph, iterations) >= 0.999
        target = os.environ.get("SCREENSHOT", tmp_path / "page.png")
        assert driver.save_screenshot(str(target))


def test_a_photograph_has_the_class_map_of_the_runtime(page, staged, photograph):
    give(page, photograph)
    iterations = segmented(page)
    assert equal_share(page, staged, photograph, iterations) >= 0.999
    assert set_budget(page, HOME) == 1
    assert equal_share(page, staged, photograph, 1) >= 0.999
    set_budget(page, END)
    iterations = set_largest_budget(page)
    assert equal_share(page, staged, photograph, iterations) >= 0.999
    captions = [each.text for each in page.find_elements("css selector", "#strip li")]
    assert [int(caption.split(":")[0]) for caption in captions] == list(range(1, iterations + 1))


def test_another_file_takes_the_place_of_the_model(page, plain, photograph):
    give(page, photograph)
    segmented(page)
    give(page, plain)
    wait_for(page, lambda: text(page, "model").startswith("anytime_plain.tflite"))
    iterations = set_largest_budget(page)
    # The best score is that of four: no budget is spent on more.
    assert iterations <= 4
    assert equal_share(page, plain, photograph, iterations) >= 0.999
    assert set_budget(page, HOME) == 1
    assert "mIoU 25.0 % on tiny, val" in text(page, "status")


@pytest.mark.parametrize("kind", ["damaged", "cut", "segment", "any size", "no image"])
def test_wrong_files_are_named_and_the_model_stays(page, staged, photograph, kind, tmp_path):
    path, expected = tmp_path / "wrong.tflite", "wrong.tflite is damaged"
    data = bytearray(staged.read_bytes())
    if kind == "damaged":
        data[len(data) // 2] ^= 1
    elif kind == "cut":
        data, expected = data[: len(data) // 2], "wrong.tflite has no metadata"
    elif kind == "segment":
        path = write_segment(make_lively_model(), (41, 57), tmp_path)
        data, expected = path.read_bytes(), "expected anytime.tflite"
    elif kind == "any size":
        path = write_anytime(make_lively_model(), None, tmp_path)
        data, expected = path.read_bytes(), "export one size"
    else:
        path = tmp_path / "wrong.png"
        data, expected = b"no image", "wrong.png is no image that this browser can read"
    path.write_bytes(data)
    give(page, path)
    wait_for(page, lambda: expected in text(page, "alert"))
    give(page, photograph)
    assert segmented(page) >= 1 and text(page, "model").startswith("anytime.tflite")


def test_the_camera_is_segmented_until_it_is_switched_off(page):
    button = page.find_element("id", "camera")
    button.click()
    wait_for(page, lambda: "iteration" in text(page, "caption") or text(page, "alert"))
    assert not text(page, "alert") and button.get_attribute("aria-pressed") == "true"
    first = text(page, "total")
    wait_for(page, lambda: text(page, "total") != first)
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert text(page, "status") == "The camera is off."


def test_the_page_opens_without_its_server(driver, folder, photograph):
    with serve(folder) as (address, stop):
        driver.get(address)
        kept = "return document.documentElement.dataset.kept"
        wait_for(driver, lambda: driver.execute_script(kept))
        stop()
        driver.get(address)
        wait_for(driver, lambda: text(driver, "status").startswith("Ready"))
        give(driver, photograph)
        assert segmented(driver) >= 1


@pytest.mark.parametrize(
    ("height", "width"), [(97, 129), (40, 50), (98, 129), (300, 200), (511, 640), (1, 700)]
)
def test_images_are_letterboxed_as_by_the_runtime(bare, height, width):
    info = make_info(size=SIZE)
    image = np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)
    rgba = np.dstack([image, np.full((height, width), 255, np.uint8)])
    body = (
        "const data = Uint8ClampedArray.from(atob(a[0]), (each) => each.charCodeAt(0));"
        "const box = m.letterbox({data, height: a[1], width: a[2]}, a[3]);"
        "return [box.pixels, box.rows, box.columns].map((each) => Array.from(each))"
    )
    settings = {"size": info.size, "padding": info.padding, "canvas_stride": info.canvas_stride}
    data = base64.b64encode(rgba.tobytes()).decode()
    pixels, rows, columns = call(bare, "letterbox.js", body, data, height, width, settings)
    expected = letterbox(image, info)
    np.testing.assert_array_equal(np.reshape(pixels, (1, *SIZE, 3)), expected.image)
    np.testing.assert_array_equal(rows, expected.rows)
    np.testing.assert_array_equal(columns, expected.columns)


@pytest.mark.parametrize("classes", [2, 5, 300])
def test_canvases_are_read_as_by_the_runtime(bare, classes):
    rng = np.random.default_rng(classes)
    canvas = rng.normal(0, 3, (6, 7, classes)).astype(np.float32).round(1)  # with ties
    canvas[:3] += 9 * (np.arange(classes) == 1)  # and with one class in all of a part
    rows, columns = np.linspace(0, 5, 43), np.linspace(0, 5.6, 31)
    body = (
        "const values = Float32Array.from(a[0]);"
        "return Array.from(m.readAt({values, height: 6, width: 7}, a[1], a[2], a[3]))"
    )
    found = call(
        bare, "reading.js", body,
        canvas.ravel().tolist(), classes, rows.tolist(), columns.tolist(),
    )  # fmt: skip
    np.testing.assert_array_equal(np.reshape(found, (43, 31)), read_at(canvas, rows, columns))


def test_latency_is_estimated_as_by_the_runtime(bare):
    seconds = [0.1, 0.11, 0.9, 0.1, 0.02, 0.1]
    expected = LatencyEstimator()
    expected.assume("encode_1", 0.5, 0.125)
    expected.narrow("encode_1")
    for each in seconds:
        expected.add("refine", 4, each)
    body = (
        "const estimator = new m.LatencyEstimator();"
        "estimator.assume('encode_1', 0.5, 0.125); estimator.narrow('encode_1');"
        "for (const each of a[0]) estimator.add('refine', 4, 1000 * each);"
        "return [estimator.upperBound('encode_1', 3), estimator.upperBound('refine', 5) / 1000,"
        " estimator.upperBound('read', 1) ?? null]"
    )
    assumed, refine, read = call(bare, "pacing.js", body, seconds)
    assert assumed == pytest.approx(expected.upper_bound("encode_1", 3), rel=1e-12)
    assert refine == pytest.approx(expected.upper_bound("refine", 5), rel=1e-12)
    assert read is None and expected.upper_bound("read", 1) is None


@pytest.mark.parametrize(
    "miou", [None, {}, {1: 0.5, 4: 0.7, 6: 0.6}, {1: 0.5, 4: 0.7}, {2: 0.7, 4: 0.7, 8: 0.1}]
)
def test_no_budget_is_spent_on_more_iterations_than_the_runtime_runs(bare, miou):
    info = {"recurrent": True, "iterations": MOST, "miou": miou}
    found = call(bare, "metadata.js", "return m.mostIterations(a[0])", info)
    assert found == most_iterations(MOST, miou)
