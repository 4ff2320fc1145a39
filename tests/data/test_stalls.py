"""Hosts on this machine that fall silent, or break off, in the middle of a file."""

import contextlib
import http.server
import pathlib
import socket
import threading
import time
import urllib.request

import pytest
import requests

from rnnseg.data import stalls
from rnnseg.data.stalls import limited_stalls
from rnnseg.errors import UserError

GOT = 20_000


@contextlib.contextmanager
def serve(after):
    """Gives the address of a host that sends a part of a file, and then "stalls" or "breaks"."""
    ended = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(GOT if after == "ends" else 2 * GOT))
            self.end_headers()
            self.wfile.write(GOT * b"x")
            if after == "stalls":
                ended.wait(30)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/file.zip"
    finally:
        ended.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def in_time(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(stalls, "_SECONDS", 0.4)


def by_requests(address, path):
    """As TFDS does."""
    with requests.Session() as session, session.get(address, stream=True) as response:
        path.write_bytes(b"".join(response.iter_content(chunk_size=1000)))


def by_urllib(address, path):
    """As Keras does."""
    urllib.request.urlretrieve(address, path)


@pytest.mark.parametrize("download", [by_requests, by_urllib])
def test_a_download_that_stalls_tells_how_far_it_came(tmp_path, download):
    start = time.monotonic()
    with serve("stalls") as address, limited_stalls(), pytest.raises(UserError) as caught:
        download(address, tmp_path / "file.zip")
    assert time.monotonic() - start < 5
    got = int(str(caught.value).partition(" after ")[2].partition(" bytes")[0])
    # What came of an unfinished block is lost with it.
    assert 0 < got <= GOT and str(caught.value).startswith(f"{address}: the download stopped")
    assert "call again" in str(caught.value)


def test_a_broken_download_tells_how_far_it_came(tmp_path):
    with serve("breaks") as address, limited_stalls(), pytest.raises(UserError) as caught:
        by_requests(address, tmp_path / "file.zip")
    assert f"stopped after {GOT} bytes" in str(caught.value)


@pytest.mark.parametrize("download", [by_requests, by_urllib])
def test_whole_files_come_as_before(tmp_path, download):
    before = socket.getdefaulttimeout(), requests.Response.iter_content
    with serve("ends") as address, limited_stalls():
        download(address, tmp_path / "file.zip")
    assert pathlib.Path(tmp_path / "file.zip").read_bytes() == GOT * b"x"
    assert before == (socket.getdefaulttimeout(), requests.Response.iter_content)
