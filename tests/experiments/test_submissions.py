import dataclasses
import io
import tarfile
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from experiments import cityscapes_scoring, submissions
from rnnseg.data.tables import CITYSCAPES, PASCAL_VOC
from rnnseg.errors import UserError
from rnnseg.evaluation.evaluator import Evaluator
from tests.evaluation.test_cityscapes import draw
from tests.support.commands import fail, run
from tests.support.models import make_lively_model
from tests.support.sources import make_source

VIEWS = {"scales": (0.75, 1.0), "flip": True}
SMALL_CITYSCAPES = dataclasses.replace(submissions.CITYSCAPES_SERVER, size=(90, 60))


@pytest.fixture(scope="module")
def voc_model():
    return make_lively_model(num_classes=21, class_names=PASCAL_VOC.names)


@pytest.fixture(scope="module")
def cityscapes_model():
    return make_lively_model(num_classes=19, class_names=CITYSCAPES.names)


@pytest.fixture
def kit(tmp_path):
    """A VOC2012 folder with images of two sizes, and one that the list does not name."""
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    (folder / "JPEGImages").mkdir(parents=True)
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "test.txt").write_text("2008_000006\n2008_000011\n")
    (lists / "val.txt").write_text("2008_000006\n")
    rng = np.random.default_rng(0)
    for name, size in (("2008_000006", (43, 70)), ("2008_000011", (64, 51)), ("other", (40, 40))):
        example = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(example).save(folder / "JPEGImages" / f"{name}.jpg")
    return tmp_path / "VOCdevkit"


@pytest.fixture
def streets(tmp_path):
    """A leftImg8bit folder of two images, and what belongs to them: (name, image, labels)."""
    rng = np.random.default_rng(1)
    examples = []
    for seed, name in ((1, "berlin_000000_000019"), (2, "munich_000123_000019")):
        folder = tmp_path / "leftImg8bit" / "test" / name.split("_")[0]
        folder.mkdir(parents=True)
        example = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
        Image.fromarray(example).save(folder / f"{name}_leftImg8bit.png")
        examples.append((name, example, *draw(seed)[:2]))
    return tmp_path, examples


def read_tgz(path) -> dict[str, Image.Image]:
    with tarfile.open(path, "r:gz") as archive:
        return {
            member.name: Image.open(io.BytesIO(archive.extractfile(member).read()))
            for member in archive.getmembers()
        }


def test_voc_archives_hold_palette_images_of_the_classes(kit, voc_model, tmp_path):
    server = submissions.VOC_SERVER
    examples = server.list_images(kit, "test")
    paths = submissions.write_submissions(
        server, voc_model, examples, tmp_path / "out", (3, 1), **VIEWS
    )
    assert [path.name for path in paths] == ["voc_n1.tgz", "voc_n3.tgz"]
    for path, number in zip(paths, (1, 3), strict=True):
        found = read_tgz(path)
        assert list(found) == [
            f"results/VOC2012/Segmentation/comp6_test_cls/{name}.png"
            for name in ("2008_000006", "2008_000011")
        ]
        for name, example in found.items():
            assert example.mode == "P"
            palette = np.reshape(example.getpalette(), (256, 3))
            # From the development kit's documentation and the ends of its table.
            assert palette[[0, 1, 15, 20, 255]].tolist() == [
                [0, 0, 0], [128, 0, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192]
            ]  # fmt: skip
            jpeg = (kit / "VOC2012" / "JPEGImages" / f"{name[-15:-4]}.jpg").read_bytes()
            image = tf.io.decode_jpeg(jpeg, 3, dct_method="INTEGER_ACCURATE").numpy()
            (expected,) = Evaluator(voc_model, (number,), **VIEWS).class_maps(image)
            np.testing.assert_array_equal(np.asarray(example), expected)
    first, last = (np.asarray(next(iter(read_tgz(path).values()))) for path in paths)
    assert np.mean(first != last) > 0.01


def test_cityscapes_archives_have_the_scores_of_evaluation(streets, cityscapes_model, tmp_path):
    scripts = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    root, examples = streets
    files = submissions.list_cityscapes(root, "test")
    paths = submissions.write_submissions(
        SMALL_CITYSCAPES, cityscapes_model, files, tmp_path / "out", (1, 2), **VIEWS
    )
    source = make_source(
        {
            "test": [
                (example, cityscapes_scoring.LABELS[label_ids], ids)
                for _, example, label_ids, ids in examples
            ]
        },
        CITYSCAPES.names,
    )
    result = Evaluator(cityscapes_model, (1, 2), **VIEWS)(source, "test", progress=False)
    for path, scores in zip(paths, result.cityscapes, strict=True):
        folder = tmp_path / path.stem
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        files = []
        for name, _, label_ids, ids in examples:
            labels = tmp_path / f"{name}_gtFine_labelIds.png"
            instances = tmp_path / f"{name}_gtFine_instanceIds.png"
            Image.fromarray(label_ids).save(labels)
            Image.fromarray(ids).save(instances)
            # As the official script finds a prediction by its name.
            arguments = scripts.CArgs()
            arguments.predictionPath, arguments.predictionWalk = str(folder), None
            files.append((scripts.getPrediction(arguments, str(labels)), labels, instances))
        official = cityscapes_scoring.official_scores(files)
        assert cityscapes_scoring.agree(scores, official)
    assert result.cityscapes[0] != result.cityscapes[1]


def test_real_cityscapes_images_keep_their_size_and_name(real_data, cityscapes_model, tmp_path):
    examples = submissions.list_cityscapes(real_data / "cityscapes", "val")
    (path,) = submissions.write_submissions(
        submissions.CITYSCAPES_SERVER, cityscapes_model, examples, tmp_path, (1,)
    )
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        values = np.asarray(Image.open(io.BytesIO(archive.read(name))))
    assert name == "frankfurt_000000_000576_labelIds.png"
    assert values.shape == (1024, 2048) and values.dtype == np.uint8
    assert set(np.unique(values)) <= {7, 8, 11, 12, 13, *range(17, 29), 31, 32, 33} - {18}


def test_commands_write_for_the_split_that_is_asked_for(kit, voc_model, tmp_path):
    voc_model.save(tmp_path / "model.keras")
    out = tmp_path / "out"
    arguments = ["voc", tmp_path / "model.keras", "--images", kit, "--out", out]
    printed = run(submissions.main, *arguments, "--iterations", 1)
    assert f"wrote {out}/voc_n1.tgz; images: 2" in printed
    assert "the server wants 1456 images" in printed
    message = fail(submissions.main, *arguments, "--iterations", "1,2")
    assert "voc_n1.tgz exists already" in message
    assert "the server wants" not in run(submissions.main, *arguments, "--split", "val")
    assert list(read_tgz(out / "voc_n6.tgz")) == [
        "results/VOC2012/Segmentation/comp6_val_cls/2008_000006.png"
    ]


def test_what_cannot_be_sent_is_not_written(kit, streets, cityscapes_model, tmp_path):
    write, out = submissions.write_submissions, tmp_path / "out"
    server = submissions.CITYSCAPES_SERVER
    examples = submissions.list_cityscapes(streets[0], "test")
    with pytest.raises(UserError, match=r"berlin_.*: 60x90 pixels; the server takes 1024x2048"):
        write(server, cityscapes_model, examples, out, (1, 2))
    assert not list(out.iterdir())
    with pytest.raises(UserError, match="the model has the 19 classes road, sidewalk"):
        write(submissions.VOC_SERVER, cityscapes_model, {}, out, (1,))
    with pytest.raises(UserError, match="no val/CITY"):
        submissions.list_cityscapes(streets[0], "val")
    with pytest.raises(UserError, match="0 files ImageSets/Segmentation/train.txt"):
        submissions.list_voc(kit, "train")
    (kit / "VOC2012" / "JPEGImages" / "2008_000011.jpg").unlink()
    with pytest.raises(UserError, match="1 of the 2 images .*2008_000011.jpg"):
        submissions.list_voc(kit, "test")
