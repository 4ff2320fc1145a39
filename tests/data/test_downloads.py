"""Hosts that answer, refuse and stay silent, on this machine."""

import contextlib
import http.server
import json
import pathlib
import socket
import threading
import time
import types

import pytest

from rnnseg.data import downloads
from rnnseg.data.downloads import check_downloads
from rnnseg.errors import UserError


@contextlib.contextmanager
def serve():
    """Gives the address of a host that refuses every request, which is an answer."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def listen():
    """Gives the address of a host that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def closed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(downloads, "_SECONDS", 0.3)


def make_builder(folder: pathlib.Path, addresses, configs=()):
    path = folder / "pets" / "1.0.0"
    return types.SimpleNamespace(
        url_infos=dict.fromkeys(addresses) if addresses is not None else None,
        builder_configs=dict.fromkeys(configs),
        data_dir=str(path),
        data_path=path,
        info=types.SimpleNamespace(full_name="pets/1.0.0"),
    )


def keep(folder, address):
    """Makes TFDS's record of a file that it has downloaded."""
    path = folder / "downloads" / "x" / "file.INFO"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"urls": [address]}))
    (path.parent / "broken.INFO").write_text("[")


def test_silent_hosts_are_named_in_time(tmp_path):
    with listen() as silent:
        refused, start = closed(), time.monotonic()
        builder = make_builder(tmp_path, [f"{silent}/a.zip", f"{silent}/b.zip", f"{refused}/c.zip"])
        with pytest.raises(UserError) as caught:
            check_downloads(builder, "tfds:pets")
    assert time.monotonic() - start < 5
    hosts = " and ".join(each.removeprefix("http://") for each in (silent, refused))
    assert str(caught.value).startswith(
        f"tfds:pets: has to be downloaded, but {hosts} cannot be reached (no answer in 0.3 s at "
    )


def test_one_answer_of_any_kind_is_enough(tmp_path):
    with serve() as answering, listen() as silent:
        check_downloads(make_builder(tmp_path, [f"{silent}/a", f"{answering}/b"]), "tfds:pets")


@pytest.mark.parametrize("addresses", [None, (), ("ftp://127.0.0.1:9/a",)])
def test_nothing_is_asked_without_addresses(tmp_path, addresses):
    check_downloads(make_builder(tmp_path, addresses), "tfds:pets")


def test_nothing_is_asked_for_what_is_there(tmp_path):
    address = f"{closed()}/a.zip"
    builder = make_builder(tmp_path, [address])
    keep(tmp_path, address)
    check_downloads(builder, "tfds:pets")
    builder = make_builder(tmp_path, [address, f"{closed()}/b.zip"])
    with pytest.raises(UserError):
        check_downloads(builder, "tfds:pets")
    # Other files may be those of another configuration.
    configs = ["small", "large"]
    check_downloads(make_builder(tmp_path, builder.url_infos, configs), "tfds:pets")
    builder.data_path.mkdir(parents=True)
    check_downloads(builder, "tfds:pets")
