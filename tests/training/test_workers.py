import json

import pytest

from rnnseg import UserError
from rnnseg.training import workers
from tests.support.workers import in_threads, tf_config


def test_the_workers_of_tf_config(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert workers.read_cluster() is None
    assert workers.own_share().is_first
    monkeypatch.setenv("TF_CONFIG", tf_config(["a:1"], 0))
    assert workers.read_cluster() is None  # alone
    monkeypatch.setenv("TF_CONFIG", tf_config(["a:1", "b:1", "[::1]:2"], 1))
    cluster = workers.read_cluster()
    assert cluster == workers.Cluster(1, ("a:1", "b:1", "[::1]:2"))
    with_chief = {
        "cluster": {"worker": ["b:1", "c:1"], "chief": ["a:1"]},
        "task": {"type": "worker", "index": 1},
        "environment": "cloud",
    }
    monkeypatch.setenv("TF_CONFIG", json.dumps(with_chief))
    assert workers.read_cluster() == workers.Cluster(2, ("a:1", "b:1", "c:1"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "not valid JSON"),
        ('{"task": {"type": "worker", "index": 0}}', "cluster is missing"),
        (tf_config(["a:1", "b:1"], 2), "the task is worker 2, which the cluster does not have"),
        (tf_config(["a:1", "b"], 0), "'b': expected HOST:PORT"),
        (tf_config(["a:1", "b:70000"], 0), "'b:70000': expected HOST:PORT, with a port of 1 to"),
        (tf_config(["a:1", "b:0"], 0), "'b:0': expected HOST:PORT"),
        (tf_config(["a:1", "b:２"], 0), "'b:２': expected HOST:PORT"),
        (tf_config(["a:1", "a:1"], 0), "another one for each worker"),
        (
            '{"cluster": {"ps": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", '
            '"index": 0}}',
            'cluster has the key "ps", expected',
        ),
        (
            '{"cluster": {"worker": ["b:1"]}, "task": {"type": "evaluator", "index": 0}}',
            'task.type is "evaluator"',
        ),
    ],
)
def test_a_wrong_tf_config(monkeypatch, text, fault):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError) as caught:
        workers.read_cluster()
    assert str(caught.value).startswith("TF_CONFIG")
    assert fault in str(caught.value) and "or no TF_CONFIG to train alone" in str(caught.value)


def test_a_mistake_that_one_worker_finds_ends_all():
    def work(share):
        try:
            with workers.fail_together(share):
                if share.index == 1:
                    raise UserError("no such data")
        except UserError as error:
            return str(error)

    other = "worker 1 cannot start: its output has the reason"
    assert in_threads(3, work) == [other, "no such data", other]


def test_workers_with_different_options():
    def work(share):
        workers.agree(share, options="the same")
        try:
            workers.agree(share, data=str(share.index == 2))
        except UserError as error:
            return str(error)

    (message,) = set(in_threads(3, work))
    assert message.startswith("worker 2 has other data than worker 0: start all by the same")


def test_workers_without_a_seed_share_the_first_ones():
    seeds = in_threads(3, lambda share: workers.common_seed(share, None))
    assert len(set(seeds)) == 1 and 0 <= seeds[0] < 2**31
    assert in_threads(2, lambda share: workers.common_seed(share, 7)) == [7, 7]
