from experiments.paper_systems import KINDS, beside_published, without_model
from rnnseg.models.registry import MODELS


def test_every_row_of_the_paper_follows_those_of_the_same_system():
    own = [("recurrent", "n = 1"), ("lr_aspp", "light"), ("recurrent", "n = 2"), ("fcn", "mine")]
    published = {"FCN": "paper: FCN", "SDN+": "paper: SDN+", "RNN, n = 6": "paper: RNN"}
    rows = beside_published(own, published)
    assert rows == ["light", "mine", "paper: FCN", "paper: SDN+", "n = 1", "n = 2", "paper: RNN"]


def test_systems_without_a_model_are_named_with_the_option_that_trains_one():
    line = without_model({"fcn", "lr_aspp"}, ["FCN", "CRF-RNN", "SDN+"])
    assert line.endswith(": CRF-RNN: --model crf_rnn; SDN+: --model sdn")
    assert without_model({"fcn"}, ["FCN"]) == ""


def test_every_system_is_a_kind_of_model():
    assert set(KINDS.values()) < set(MODELS) and len(set(KINDS.values())) == len(KINDS)
