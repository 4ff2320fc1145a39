"""Waiting for the other workers of a training, in a way that a signal ends.

TensorFlow waits for them in a single call, which blocks Python's handlers of signals and takes
SIGTERM for itself: Ctrl-C and SIGTERM do nothing until it returns. So each worker first waits here
until it has reached the address of every other one, where either this module listens or, a little
later, TensorFlow's server. Only then TensorFlow connects them, which takes a moment.
"""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence

from rnnseg.errors import UserError

_SECONDS_BETWEEN = 0.2
# To reach an address that does not answer, such as that of a machine that is off.
_SECONDS_TO_CONNECT = 2.0


def wait_for_others(addresses: Sequence[str], index: int) -> None:
    """Waits until every other worker has been reached; it listens at the own address meanwhile.

    Args:
      addresses: HOST:PORT of each worker.
      index: the number of this one.

    Raises:
      UserError: another process listens at the own port.
    """
    missing = [each for number, each in enumerate(addresses) if number != index]
    with _listener(addresses[index], len(addresses)):
        while missing := [each for each in missing if not _answers(each)]:
            time.sleep(_SECONDS_BETWEEN)


def _listener(address: str, workers: int) -> socket.socket:
    port = int(address.rpartition(":")[2])
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        # The system completes connections by itself. Nothing is sent, so none is accepted.
        return socket.create_server(
            ("", port), family=family, backlog=2 * workers, dualstack_ipv6=both
        )
    except OSError as error:
        raise UserError(
            f"TF_CONFIG: this worker cannot listen at port {port} ({error.strerror}): end the "
            "process that does, or choose another port in the TF_CONFIG of all workers"
        ) from error


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_CONNECT).close()
    except (OSError, UnicodeError):  # names of machines may be known only once they have started
        return False
    return True


@contextlib.contextmanager
def own_signals() -> Iterator[None]:
    """Keeps Ctrl-C and SIGTERM as they are through a block in which TensorFlow connects workers.

    Within the block Ctrl-C ends the process at once, as no handler of Python would run. After it
    SIGTERM does what it did before: TensorFlow takes it for checkpoints that nothing here saves,
    and the process would go on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can set handlers
        return
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    if before[signal.SIGINT] is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        for each, handler in before.items():
            if handler is not None:  # it was not set in Python
                signal.signal(each, handler)
