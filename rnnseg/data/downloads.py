"""A check that the files of a TFDS data set can be downloaded, before TFDS tries.

TFDS tries an address without an answer ten times, with growing pauses and no time limit: without a
network it seems to hang.
"""

import dataclasses
import pathlib
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection
from typing import Any

from rnnseg import schemas
from rnnseg.errors import UserError

_SECONDS = 20  # for an answer of any kind
_MOST_HOSTS = 4


@dataclasses.dataclass(frozen=True)
class _Info:
    """What TFDS notes beside a file that it downloaded, as far as it is read here."""

    urls: tuple[str, ...] | None = None


def check_downloads(builder: Any, where: str) -> None:
    """Raises a UserError if a data set has to be downloaded and no host of its files answers.

    Args:
      builder: a `tfds.core.DatasetBuilder`.
      where: the name of the data set in messages.

    Raises:
      UserError: after 20 seconds at most.
    """
    if builder.data_path.exists():
        return  # it is prepared already
    hosts = _hosts(_missing(builder))
    if hosts and not _any_answers(list(hosts.values())):
        raise UserError(
            f"{where}: has to be downloaded, but {' and '.join(hosts)} cannot be reached (no "
            f"answer in {_SECONDS:g} s at most); check the network and its proxy (HTTPS_PROXY), or "
            f"prepare it on another machine and copy it to {builder.data_dir}"
        )


def _missing(builder: Any) -> list[str]:
    """Returns the addresses of the files that TFDS would download."""
    addresses = [each for each in builder.url_infos or () if each.startswith(("http:", "https:"))]
    downloaded = _downloaded(builder)
    missing = [each for each in addresses if each not in downloaded]
    # A data set with configurations lists the files of all of them, and may need no other ones.
    several = len(builder.builder_configs) > 1
    return [] if several and len(missing) < len(addresses) else missing


def _downloaded(builder: Any) -> set[str]:
    """Returns the addresses of the files that TFDS has downloaded before."""
    levels = builder.info.full_name.count("/")
    # Not by a path of TFDS, which looks into no folders of folders.
    folder = pathlib.Path(builder.data_dir).parents[levels]
    found: set[str] = set()
    for path in folder.glob("downloads/**/*.INFO"):
        try:
            found.update(schemas.read_json(path, _Info, "remove it").urls or ())
        except UserError:
            continue  # TFDS downloads that file again
    return found


def _hosts(addresses: Collection[str]) -> dict[str, str]:
    """Returns the first address of each host, of a few hosts."""
    hosts: dict[str, str] = {}
    for each in addresses:
        hosts.setdefault(urllib.parse.urlsplit(each).netloc, each)
    return dict(list(hosts.items())[:_MOST_HOSTS])


def _any_answers(addresses: Collection[str]) -> bool:
    answered = threading.Event()

    def ask(address):
        if _answers(address):
            answered.set()

    # In threads, since nothing limits the time in which a name server answers.
    threads = [threading.Thread(target=ask, args=(each,), daemon=True) for each in addresses]
    for thread in threads:
        thread.start()
    end = time.monotonic() + _SECONDS
    while any(thread.is_alive() for thread in threads) and time.monotonic() < end:
        if answered.wait(0.05):
            break
    return answered.is_set()


def _answers(address: str) -> bool:
    """Returns True if a host answers, even if it refuses."""
    request = urllib.request.Request(address, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        # Certificates are for the download to judge, which may know others.
        return isinstance(error.reason, ssl.SSLError)
    except OSError:
        return False
