import json
import math

import numpy as np
import pytest
from PIL import Image

from experiments import cityscapes_scoring
from experiments.cityscapes_scoring import IDS, LABELS
from rnnseg.data.tables import CITYSCAPES
from rnnseg.evaluation.cityscapes import CATEGORIES

PARTS = ("classScores", "classInstScores", "categoryScores", "categoryInstScores")


def own_scores(images):
    return cityscapes_scoring.own_scores(
        (prediction, LABELS[label_ids], instance_ids)
        for label_ids, instance_ids, prediction in images
    )


@pytest.fixture
def official_scores(tmp_path):
    """Scores (label ids, instance ids, prediction) of images by cityscapesscripts."""
    pytest.importorskip("cityscapesscripts")

    def run(images):
        files = []
        for number, (label_ids, instance_ids, prediction) in enumerate(images):
            kinds = ("prediction", "labelIds", "instanceIds")
            files.append([tmp_path / f"{number}_{kind}.png" for kind in kinds])
            values = (IDS[prediction], label_ids, instance_ids)
            for path, each in zip(files[-1], values, strict=True):
                Image.fromarray(each).save(path)
        return cityscapes_scoring.official_scores(files)

    return run


def assert_the_same(scores, official):
    """Compares every official score that is not NaN, to the last digit."""
    found = (scores.class_iou, scores.class_iiou, scores.category_iou, scores.category_iiou)
    for part, own in zip(PARTS, found, strict=True):
        theirs = {name: value for name, value in official[part].items() if not math.isnan(value)}
        assert {name: value for name, value in own.items() if not math.isnan(value)} == theirs, part
    keys = ("Classes", "InstClasses", "Categories", "InstCategories")
    np.testing.assert_array_equal(
        list(scores.means.values()), [official[f"averageScore{key}"] for key in keys]
    )


def draw(seed, ids=range(34), instances=True, right=0.7):
    """Draws squares of label ids with instances on them, and a partly right prediction."""
    rng = np.random.default_rng(seed)
    label_ids = rng.choice(list(ids), (6, 9)).astype(np.uint8).repeat(10, 0).repeat(10, 1)
    instance_ids = label_ids.astype(np.uint16)
    if instances:
        # Objects have label ids from 24 on; an object without instances keeps its label id.
        numbers = rng.integers(0, 4, (12, 18)).repeat(5, 0).repeat(5, 1)
        apart = (label_ids >= 24) & (rng.random((6, 9)) < 0.8).repeat(10, 0).repeat(10, 1)
        instance_ids[apart] = (1000 * label_ids.astype(int) + numbers)[apart]
    labels = np.where(LABELS[label_ids] < 19, LABELS[label_ids], 0)
    wrong = rng.random(label_ids.shape) > right
    prediction = np.where(wrong, rng.integers(0, 19, label_ids.shape), labels)
    return label_ids, instance_ids, prediction.astype(np.int32)


CASES = {
    **{f"drawn {seed}": [draw(seed), draw(seed + 100)] for seed in range(12)},
    "several": [draw(seed) for seed in range(5)],
    "all right": [draw(0, IDS, right=1.1)],
    "all wrong": [draw(0, IDS, right=-1)],
    "no instances": [draw(1, instances=False)],
    "ignored alone": [draw(2, [0, 1, 2, 3, 9, 29, 30])],
    "few classes": [draw(3, [7, 26, 29]), draw(4, [7, 23])],
    "one class predicted": [(*draw(5)[:2], np.full((60, 90), 13, np.int32))],
}


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_official_scores(case, official_scores):
    images = CASES[case]
    assert_the_same(own_scores(images), official_scores(images))


def test_agrees_on_real_ground_truth(real_data, official_scores):
    images = []
    for path in sorted((real_data / "cityscapes" / "gtFine").rglob("*_labelIds.png")):
        label_ids = np.asarray(Image.open(path))
        instance_ids = np.asarray(Image.open(str(path).replace("labelIds", "instanceIds")))
        instance_ids = instance_ids.astype(np.uint16)
        prediction = LABELS[cityscapes_scoring.perturb(label_ids, len(images))]
        images.append((label_ids, instance_ids, prediction))
    scores = own_scores(images)
    assert_the_same(scores, official_scores(images))
    assert 0.2 < scores.means["class_iou"] < 0.9


def test_the_benchmark_finds_that_the_scores_agree(real_data):
    pytest.importorskip("cityscapesscripts")
    truth = real_data / "cityscapes" / "gtFine" / "val"
    images, seconds, agreeing = cityscapes_scoring.measure_scoring(truth, repeats=1)
    assert images == 1 and len(seconds) == 3 and agreeing
    text = cityscapes_scoring.report_scoring(images, [0.5, 2.0, 0.25], False)
    assert "ours 500.0 ms per image, cityscapesscripts 2000.0 ms and 1750.0 ms without" in text
    assert "ratio 3.50" in text and "DO NOT AGREE" in text


def test_the_benchmark_sees_a_difference(official_scores):
    images = CASES["several"]
    official = official_scores(images)
    assert cityscapes_scoring.agree(own_scores(images), official)
    assert not cityscapes_scoring.agree(own_scores(images[:-1]), official)
    nan = dict(official, averageScoreClasses=math.nan)
    assert not cityscapes_scoring.agree(own_scores(images), nan)


def test_scores_by_hand():
    label_ids = np.full((10, 40), 7, np.uint8)
    instance_ids = label_ids.astype(np.uint16)
    prediction = np.zeros((10, 40), np.int32)
    # A small car is missed, and half of a larger one is found; the other half is called a truck.
    for columns, number in ((slice(0, 4), 1), (slice(10, 26), 2)):
        label_ids[:, columns], instance_ids[:, columns] = 26, 26000 + number
    prediction[:, 10:18], prediction[:, 18:26] = 13, 14
    prediction[:, 30] = 13  # a car that does not exist
    scores = own_scores([(label_ids, instance_ids, prediction)])
    assert scores.class_iou["car"] == pytest.approx(80 / (200 + 10))
    weights = np.array([12794.0202738185 / 40, 12794.0202738185 / 160])
    hits, misses = 80 * weights[1], 40 * weights[0] + 80 * weights[1]
    assert scores.class_iiou["car"] == pytest.approx(hits / (hits + 10 + misses))
    # As a vehicle, the whole larger car is right.
    hits, misses = 160 * weights[1], 40 * weights[0]
    assert scores.category_iiou["vehicle"] == pytest.approx(hits / (hits + 10 + misses))
    assert scores.category_iou["vehicle"] == pytest.approx(160 / 210)
    content = scores.to_json()
    assert content["class_iou"]["sky"] is None and content["class_iiou"]["bus"] is None
    assert content["mean_category_iiou"] == scores.category_iiou["vehicle"]
    json.dumps(content, allow_nan=False)


def test_every_class_is_in_one_category():
    names = [name for members in CATEGORIES.values() for name in members]
    assert sorted(names) == sorted(CITYSCAPES.names)
