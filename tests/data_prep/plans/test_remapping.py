import pytest

from data_prep.plans.remapping import remap_table
from rnnseg.data.classes import ClassTable
from rnnseg.errors import UserError

COLORED = ClassTable(
    names=("sky", "road", "a=b"),
    colors=((0, 0, 1), (0, 0, 2), (0, 0, 3)),
    values={0: 0, 1: 1, 2: 2},
    color_values={(0, 0, 1): 0, (0, 0, 2): 1, (0, 0, 3): 2},
)
PLAIN = ClassTable(("sky", "road"), None, {0: 0, 1: 1}, None)


def test_values_and_colors_are_given_to_classes():
    table = remap_table(
        COLORED,
        remap=["7=road", "2=sky", "9,9,9=a=b", "0 0 1=Ignore", "65535 = road"],
        ignore=["255", "8,8,8"],
    )
    assert table == ClassTable(
        names=COLORED.names,
        colors=COLORED.colors,
        values={0: 0, 1: 1, 2: 0, 7: 1, 65535: 1, 255: 255},
        color_values={
            (0, 0, 1): 255, (0, 0, 2): 1, (0, 0, 3): 2, (9, 9, 9): 2, (8, 8, 8): 255
        },
    )  # fmt: skip
    assert COLORED.values == {0: 0, 1: 1, 2: 2}  # the argument is not changed


def test_nothing_to_change():
    assert remap_table(COLORED) == COLORED
    assert remap_table(PLAIN) == PLAIN


def test_the_same_option_twice_is_accepted():
    table = remap_table(PLAIN, remap=["3=road", "3=road", "4=ignore"], ignore=["4"])
    assert table.values == {0: 0, 1: 1, 3: 1, 4: 255}


@pytest.mark.parametrize("value", ["", "-1", "65536", "1,2", "1,2,256", "1,2,3,4", "red", "1.0"])
def test_invalid_values_are_named(value):
    with pytest.raises(UserError, match=f"^--ignore {value}: expected an index, 0 to 65535, or R,"):
        remap_table(COLORED, ignore=[value])
    with pytest.raises(UserError, match=f"^--remap {value}=road: expected an index"):
        remap_table(COLORED, remap=[f"{value}=road"])


@pytest.mark.parametrize(
    ("table", "remap", "encoding", "message"),
    [
        (PLAIN, ["3"], "auto", "--remap 3: expected VALUE=CLASS, such as 7=road"),
        (PLAIN, ["3=Road"], "auto", "--remap 3=Road: no class 'Road', expected ignore or one of "
         "sky, road"),
        (PLAIN, ["3=road", "3=sky"], "auto", "--remap 3=sky: another option gives 3 to another"),
        (PLAIN, ["1,2,3=road"], "auto", "--remap 1,2,3=road: colour masks need the colour"),
        (COLORED, ["3=road"], "color", "--remap 3=road: expected R,G,B with --mask-encoding color"),
        (COLORED, ["1,2,3=road"], "index", "--remap 1,2,3=road: expected an index with --mask-enc"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_named(table, remap, encoding, message):
    with pytest.raises(UserError) as error:
        remap_table(table, remap, encoding=encoding)
    assert str(error.value).startswith(message)


def test_a_value_that_is_both_ignored_and_a_class():
    with pytest.raises(UserError, match="--remap 3=road: another option gives 3 to another class"):
        remap_table(PLAIN, remap=["3=road"], ignore=["3"])
