"""Folders of logs, read by TensorBoard's own reader, for tests."""

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext

from rnnseg.dashboard import reading

CONTEXT = RequestContext()


def open_provider(logdir) -> MultiplexerDataProvider:
    """Returns TensorBoard's own data provider, which keeps all data."""
    multiplexer = EventMultiplexer(size_guidance={"tensors": 0})
    multiplexer.AddRunsFromDirectory(str(logdir))
    multiplexer.Reload()
    return MultiplexerDataProvider(multiplexer, str(logdir))


def comparisons(logdir, hidden=()):
    return reading.read_comparisons(open_provider(logdir), CONTEXT, "", hidden)


def scalars(logdir, run):
    """Returns the scalars of a run, `{tag: [(step, value), ...]}`."""
    provider = open_provider(logdir)
    found = provider.read_scalars(CONTEXT, experiment_id="", plugin_name="scalars", downsample=1000)
    return {
        tag: [(datum.step, datum.value) for datum in data]
        for tag, data in found.get(run, {}).items()
    }
