import pytest

from rnnseg.data.source import IGNORE_LABEL
from rnnseg.data.tables import ADE20K, ADE20K_OBJECTS, CITYSCAPES, OXFORD_IIIT_PET, TABLES


def test_cityscapes_matches_its_own_scripts():
    labels = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    trained = sorted((each for each in labels if not each.ignoreInEval), key=lambda e: e.trainId)
    assert [each.trainId for each in trained] == list(range(19))
    assert CITYSCAPES.names == tuple(each.name for each in trained)
    assert CITYSCAPES.colors == tuple(each.color for each in trained)
    expected = {
        each.id % 256: IGNORE_LABEL if each.ignoreInEval else each.trainId for each in labels
    }
    assert len(expected) == 35
    assert CITYSCAPES.values == expected


def test_the_border_of_the_pets_is_ignored():
    assert OXFORD_IIIT_PET.names == ("pet", "background")
    assert OXFORD_IIIT_PET.values == {1: 0, 2: 1, 3: IGNORE_LABEL}


def test_ade20k():
    assert ADE20K.values == {0: IGNORE_LABEL} | {value: value - 1 for value in range(1, 151)}
    # Samples that would differ if the list were incomplete or in another order.
    for value, name in ((1, "wall"), (13, "person"), (76, "swivel chair"), (121, "food")):
        assert ADE20K.names[value - 1] == name
    assert ADE20K.names[-1] == "flag"


def test_objects_of_ade20k():
    assert ADE20K_OBJECTS.values == {value: value for value in range(101)}
    for value, name in (
        (0, "background"),
        (1, "bed"),
        (4, "person"),
        (52, "light"),
        (83, "bicycle"),
    ):
        assert ADE20K_OBJECTS.names[value] == name
    assert ADE20K_OBJECTS.names[-1] == "flag"
    others = set(ADE20K_OBJECTS.names) - set(ADE20K.names)
    assert others == {"background", "television receiver"}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_sound(name):
    table = TABLES[name]
    assert len(set(table.names)) == len(table.names)
    assert set(table.values.values()) - {IGNORE_LABEL} == set(range(len(table.names)))
    assert table.colors is None or len(set(table.colors)) == len(table.names)
