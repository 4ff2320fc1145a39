import pytest

from rnnseg import UserError
from rnnseg.bulk.beam import read_options

pytest.importorskip("apache_beam", reason="needs apache-beam: pip install rnnseg[beam]")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("--direct_num_worker=2", "DirectRunner has no option --direct_num_worker;"),
        ("--nothing", "DirectRunner has no option --nothing;"),
        ("--direct_num_workers=two", "argument --direct_num_workers: invalid int value: 'two'"),
        ("--runner=Nobody", "Unexpected pipeline runner: Nobody"),
    ],
)
def test_wrong_options_are_named(text, fault, capsys):
    with pytest.raises(UserError) as caught:
        read_options(text)
    assert str(caught.value).startswith(f"--beam {text}: ") and fault in str(caught.value)
    assert "usage:" not in capsys.readouterr().err  # what argparse prints


def test_options_reach_the_pipeline():
    _, options = read_options("--direct_num_workers=2 --direct_running_mode multi_processing")
    given = options.get_all_options(drop_default=True)
    assert given["direct_num_workers"] == 2
    assert given["direct_running_mode"] == "multi_processing"
