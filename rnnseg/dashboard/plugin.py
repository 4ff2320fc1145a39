"""The plugin that TensorBoard loads: the tab *Speed-accuracy* and its data.

It imports neither TensorFlow nor Keras, since TensorBoard imports it at every start.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import werkzeug
from tensorboard import errors, plugin_util
from tensorboard.backend import http_util
from tensorboard.plugins.base_plugin import FrontendMetadata, TBPlugin

from rnnseg.dashboard import tags
from rnnseg.dashboard.reading import read_comparisons

_STATIC = pathlib.Path(__file__).parent / "static"
_FILES = {".js": "text/javascript", ".css": "text/css"}
_IMAGES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


class SpeedAccuracyPlugin(TBPlugin):
    """Serves the front end and the evaluations.

    Args:
      context: the `TBContext` of TensorBoard.
    """

    plugin_name = tags.PLUGIN

    def __init__(self, context: Any) -> None:
        self._provider = context.data_provider

    def get_plugin_apps(self) -> dict[str, Callable]:
        """Returns the routes: one per static file, `/data` (JSON) and `/blob` (an image)."""
        files = {
            f"/{path.name}": _request(functools.partial(_serve_file, path))
            for path in _STATIC.iterdir()
        }
        return {**files, "/data": _request(self._data), "/blob": _request(self._blob)}

    def is_active(self) -> bool:
        """Returns False: by the name of the plugin, TensorBoard itself finds out if it has data."""
        return False

    def frontend_metadata(self) -> Any:
        """Returns the module and the name of the tab."""
        return FrontendMetadata(es_module_path="/index.js", tab_name="Speed-accuracy")

    def _data(self, request):
        content = read_comparisons(
            self._provider,
            plugin_util.context(request.environ),
            plugin_util.experiment_id(request.environ),
            request.args.getlist("hide"),
        )
        return http_util.Respond(request, content, "application/json")

    def _blob(self, request):
        key = request.args.get("key")
        if not key:
            raise errors.InvalidArgumentError("the request has no key of a blob")
        content = self._provider.read_blob(plugin_util.context(request.environ), blob_key=key)
        # The key may belong to any blob of any plugin; only images are served.
        kind = next((kind for start, kind in _IMAGES.items() if content.startswith(start)), None)
        if kind is None:
            raise errors.InvalidArgumentError("this blob is no image")
        return http_util.Respond(request, content, kind)


def _request(function):
    """Returns the WSGI application of a function from request to response."""
    return werkzeug.wrappers.Request.application(function)


def _serve_file(path, request):
    return http_util.Respond(request, path.read_bytes(), _FILES[path.suffix])
