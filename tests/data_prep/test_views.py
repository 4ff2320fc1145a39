import numpy as np

from data_prep.views import agreed, view_sizes

SIZE = (12, 16)


def half_dark():
    image = np.full((*SIZE, 3), 200, np.uint8)
    image[:, : SIZE[1] // 3] = 30
    return image


def expected_of(image):
    return (image.mean(-1) > 127.5).astype(int)


def test_labels_are_those_on_which_all_views_agree():
    image = half_dark()
    calls = []

    def sees_the_left(view):
        """Says 1 to the left third of what it sees, and 2 to bright rest."""
        calls.append(view.shape[:2])
        labels = np.full(view.shape[:2], 2)
        labels[:, : view.shape[1] // 3] = 1
        return labels

    labels = agreed(sees_the_left, image, [SIZE, (6, 8)])
    assert calls == [SIZE, SIZE, (6, 8), (6, 8)]
    assert set(np.unique(labels[:, :5])) == {255} and set(np.unique(labels[:, 11:])) == {255}
    assert set(np.unique(labels[:, 6:10])) == {2}
    same = agreed(expected_of, image, [SIZE])
    np.testing.assert_array_equal(same, expected_of(image))


def test_views_that_a_model_would_scale_down_are_looked_at_once():
    assert view_sizes((101, 201), (0.5, 1, 1.5), None) == [(51, 101), (101, 201), (151, 301)]
    assert view_sizes((101, 201), (0.5, 1, 1.5, 2), (201, 201)) == [(51, 101), (101, 201)]
