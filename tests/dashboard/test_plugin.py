import io
import json
import re
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image
from tensorboard.plugins.base_plugin import TBContext
from werkzeug.test import Client

from rnnseg.dashboard import Recorder, plugin, reading, tags
from rnnseg.evaluation.evaluator import Evaluator
from tests.dashboard.logdirs import open_provider
from tests.support.models import make_model
from tests.support.sources import tiny_source

STATIC = plugin._STATIC


@pytest.fixture(scope="module")
def get(tmp_path_factory):
    """A function from a route of the plugin and a query to the response."""
    logdir = tmp_path_factory.mktemp("logs")
    source = tiny_source()
    evaluator = Evaluator(make_model(num_classes=3), (1, 2))
    Recorder(evaluator, source, "val", logdir / "a&b")(progress=False)
    context = TBContext(data_provider=open_provider(logdir))
    apps = plugin.SpeedAccuracyPlugin(context).get_plugin_apps()
    return lambda route, **query: Client(apps[route]).get(route, query_string=query)


def test_data_are_json(get):
    response = get("/data")
    assert response.status_code == 200 and response.mimetype == "application/json"
    (comparison,) = json.loads(response.data)
    (run,) = comparison["runs"]
    assert run["name"] == "a&b" and len(run["points"]) == 2 and len(run["images"]) == 3


def test_hidden_runs_are_on_no_frontier(get):
    (comparison,) = get("/data", hide="a&b").json
    assert comparison["runs"][0]["hidden"] and not comparison["frontier"]["gmacs"]


def test_blobs_are_images(get):
    (image, *_) = get("/data").json[0]["runs"][0]["images"]
    kinds = {image["image"]: "image/jpeg", image["maps"][1]: "image/png"}
    for key, kind in kinds.items():
        response = get("/blob", key=key)
        assert response.mimetype == kind
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert Image.open(io.BytesIO(response.data)).size == (51, 43)


def test_other_blobs_are_refused():
    class Provider:
        def read_blob(self, context, blob_key):
            return b"<script>alert(1)</script>"

    app = plugin.SpeedAccuracyPlugin(TBContext(data_provider=Provider())).get_plugin_apps()["/blob"]
    with pytest.raises(Exception, match="no image"):
        Client(app).get("/blob?key=x")
    with pytest.raises(Exception, match="no key"):
        Client(app).get("/blob")


EVALUATION = {
    "data": "streets",
    "split": "val",
    "images": 7,
    "image_size": [36, 48],
    "scales": [1.0],
    "flip": False,
    "results": [{"iterations": 1, "miou": 0.5, "multiply_adds": 10**9, "milliseconds": 5.0}],
}
RECORDED = {
    "evaluation": EVALUATION,
    "machine": {"processor": "chip", "cores": 2, "accelerators": []},
    "class_names": ["a", "b"],
    "class_colors": [[0, 0, 0], [1, 2, 3]],
    "images": [],
}


@pytest.mark.parametrize(
    "text, fault",
    [
        ("", "not valid JSON"),
        (b"\xff", "no UTF-8 text"),
        (json.dumps(RECORDED | {"machine": None}), "machine is null"),
        (json.dumps(RECORDED | {"evaluation": []}), "evaluation is"),
        (json.dumps(RECORDED | {"evaluation": EVALUATION | {"images": "7"}}), "evaluation.images"),
        (json.dumps(RECORDED).replace("0.5", "NaN"), "evaluation.results.0..miou is nan"),
        (json.dumps(RECORDED).replace("1000000000", "null"), "no multiply-adds"),
    ],
)
def test_a_damaged_evaluation_is_left_out_with_a_warning(caplog, text, fault):
    series = {
        name: {tags.EVALUATION: [types.SimpleNamespace(step=3, numpy=np.array(each, object))]}
        for name, each in (("bad", text), ("good", json.dumps(RECORDED)))
    }
    provider = types.SimpleNamespace(
        read_blob_sequences=lambda *_, **__: {}, read_tensors=lambda *_, **__: series
    )
    (comparison,) = reading.read_comparisons(provider, None, "", ())
    assert [run["name"] for run in comparison["runs"]] == ["good"]
    (record,) = caplog.records
    assert re.search(f"left out: the evaluation of bad: {fault}.*evaluate", record.getMessage())


@pytest.mark.parametrize("path", sorted(STATIC.iterdir()), ids=lambda path: path.name)
def test_front_end_is_served_whole(get, path):
    response = get(f"/{path.name}")
    assert response.data == path.read_bytes()
    assert response.mimetype == {".js": "text/javascript", ".css": "text/css"}[path.suffix]
    # Nothing is loaded from elsewhere, and all imported modules exist.
    text = path.read_text()
    assert re.findall(r"https?://\S+", text.replace("http://www.w3.org/2000/svg", "")) == []
    assert "innerHTML" not in text
    for name in re.findall(r"from '\./(.+)'", text):
        assert (STATIC / name).is_file()


def test_the_tab_has_its_entry():
    instance = plugin.SpeedAccuracyPlugin(TBContext())
    metadata = instance.frontend_metadata()
    assert metadata.es_module_path in instance.get_plugin_apps()
    assert metadata.tab_name == "Speed-accuracy"
    assert "export async function render()" in (STATIC / "index.js").read_text()


def test_plugin_loads_no_heavy_library():
    heavy = {"tensorflow", "keras", "matplotlib", "PIL"}
    program = f"import sys, rnnseg.dashboard.plugin; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split() == [], done.stderr
