"""Workers that wait for one another, and signals meanwhile."""

import os
import signal
import socket
import threading

import pytest

from rnnseg import UserError
from rnnseg.training.waiting import own_signals, wait_for_others
from tests.support.workers import free_addresses

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Ended(Exception):
    """What the handlers of these tests raise."""


@pytest.fixture(autouse=True)
def _handlers():
    def end(*_):
        raise Ended

    before = {each: signal.signal(each, end) for each in SIGNALS}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.fixture
def join():
    """Starts a worker in a thread. After the wait it serves its port, as TensorFlow does."""
    servers = []

    def work(addresses, index):
        wait_for_others(addresses, index)
        servers.append(socket.create_server(("", int(addresses[index].rpartition(":")[2]))))

    def start(addresses, index):
        thread = threading.Thread(target=work, args=(addresses, index), daemon=True)
        thread.start()
        return thread

    yield start
    for each in servers:
        each.close()


def test_workers_wait_until_the_last_one_is_there(join):
    addresses = free_addresses(3)
    waiting = [join(addresses, index) for index in (0, 2)]
    waiting[0].join(0.3)
    assert all(each.is_alive() for each in waiting)
    waiting.append(join(addresses, 1))
    for each in waiting:
        each.join(20)
        assert not each.is_alive()


@pytest.mark.parametrize("ending", SIGNALS)
def test_a_signal_ends_a_worker_that_waits(ending):
    timer = threading.Timer(0.1, os.kill, (os.getpid(), ending))
    timer.start()
    with pytest.raises(Ended):
        wait_for_others(free_addresses(2), 0)
    timer.join()


def test_a_port_in_use():
    addresses = free_addresses(2)
    port = int(addresses[0].rpartition(":")[2])
    with (
        socket.create_server(("", port)),
        pytest.raises(UserError, match=f"cannot listen at port {port} .*: end the process that"),
    ):
        wait_for_others(addresses, 0)


def test_the_handlers_of_signals_are_kept():
    before = [signal.getsignal(each) for each in SIGNALS]
    with own_signals():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as TensorFlow does
        assert signal.getsignal(signal.SIGINT) is before[0]  # one that is not Python's
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_ctrl_c_ends_the_process_while_tensorflow_connects():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with own_signals():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_keep_their_hands_off_signals():
    seen = []

    def connect():
        with own_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=connect)
    thread.start()
    thread.join()
    assert seen == [before]
