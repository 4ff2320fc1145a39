"""Downloads that end when their host falls silent.

TFDS downloads by `requests`, and Keras by `urllib`. Both wait without end for a host that stops in
the middle of a file.
"""

import contextlib
import socket
import urllib.request
from collections.abc import Callable, Iterator

from rnnseg.errors import UserError

_SECONDS = 60  # without data
_CONNECTING = 20  # seconds for a connection
_RETRIES = 2  # before a file begins; TFDS would try ten times


@contextlib.contextmanager
def limited_stalls() -> Iterator[None]:
    """In its block, downloads end after a minute without data.

    They then raise a UserError that names the file and the bytes that came. It holds for all
    threads, since TFDS downloads in threads of its own.
    """
    with contextlib.ExitStack() as stack:
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(_SECONDS)
        stack.callback(socket.setdefaulttimeout, before)

        def open_counted(opener, *arguments, **options):
            response = open_url(opener, *arguments, **options)
            response.read = _Reader(response.read, response.url)
            return response

        open_url = _replace(stack, urllib.request.OpenerDirector, "open", open_counted)
        try:
            import requests
        except ImportError:  # it comes with TFDS
            pass
        else:

            def send_limited(adapter, *arguments, **options):
                options["timeout"] = options.get("timeout") or (_CONNECTING, _SECONDS)
                retries = adapter.max_retries
                adapter.max_retries = retries.new(total=min(_RETRIES, retries.total or 0))
                return send(adapter, *arguments, **options)

            def iterate_counted(response, *arguments, **options):
                blocks = iterate(response, *arguments, **options)
                return iter(_Reader(lambda: next(blocks, b""), response.url), b"")

            send = _replace(stack, requests.adapters.HTTPAdapter, "send", send_limited)
            iterate = _replace(stack, requests.Response, "iter_content", iterate_counted)
        yield


def _replace(stack: contextlib.ExitStack, owner: type, name: str, function: Callable) -> Callable:
    """Replaces a method until the end of the stack; returns the replaced one."""
    original = getattr(owner, name)
    setattr(owner, name, function)
    stack.callback(setattr, owner, name, original)
    return original


class _Reader:
    """Reads from a host, and tells how far it came if the host stops.

    Args:
      read: returns the next bytes.
      address: the address of the file.
    """

    def __init__(self, read: Callable, address: str):
        self._read, self._address, self._bytes = read, address, 0

    def __call__(self, *arguments):
        try:
            block = self._read(*arguments)
        except OSError as error:  # those of requests are some, too
            raise UserError(
                f"{self._address}: the download stopped after {self._bytes} bytes (no data for "
                f"{_SECONDS:g} s, or a broken connection); call again, and it goes on: files that "
                "are complete are kept"
            ) from error
        self._bytes += len(block)
        return block
