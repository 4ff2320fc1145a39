r"""Trains on PASCAL VOC and on images without labels, which another model labels: distillation.

    python -m experiments.voc_distilled --voc VOCdevkit/VOC2012 --images unlabelled \
        --teacher deeplabv3_mnv2_pascal_quant.tflite --weights mobilenet_v2_coco_voc.weights.h5 \
        --out runs/voc_distilled

The student, a stack on an encoder that was trained to segment and stays as it is, learns what the
teacher says of every image: not only the most probable class, but how probable all are
(`--teacher` of `rnnseg train`). Beside that it sees true labels where there are any, those of
`SegmentationClassAug`, and the classes of the teacher on the images of `--images` (`rnnseg prepare
pseudo_labels`: where an image and its mirror image agree). Every image is encoded a few times, once
for all epochs (`--keep-views`). `RECIPE` has the options of the training.

In `--out` are the teacher's labels, the records (`voc`), the run (`run`), the files for devices
(`exported`) and the preset (`mobilenet_v2_voc`), with scores at several scales of the images. What
is finished is not done again, and an interrupted training goes on. Then

    python -m experiments.device_benchmark runs/voc_distilled/exported/anytime_int8.tflite \
        --peer deeplabv3_mnv2_pascal_quant.tflite --data runs/voc_distilled/voc

compares the student with its teacher.
"""

import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from data_prep.pseudo_labels import label_files, label_images
from data_prep.run import PATH
from rnnseg.cli.base import Command
from rnnseg.data.tables import PASCAL_VOC
from rnnseg.errors import UserError
from rnnseg.inference.teachers import Teacher
from rnnseg.pretrained.names import DEFAULT
from rnnseg.training.config import TrainingConfig

from .folder_records import build_records

if TYPE_CHECKING:
    from rnnseg.evaluation.evaluator import Evaluation

RECIPE = dict(
    encoder="mobilenet_v2",
    output_stride=16,
    # Frozen features hold little of their surroundings; the teacher sees the mean of all, too.
    context_channels=256,
    context_rates=(),
    # It was trained to segment, by others, on far more images.
    train_encoder=False,
    # Its shallow layers were not, and tell little of objects.
    early_iterations=(),
    iterations=6,
    kept_views=2,
    sampled_patches=128,
    # Whole images: the teacher knows objects best as they stand.
    crop=(513, 513),
    scale=(0.75, 1.0),
    teacher_share=0.9,
    temperature=3.0,
    batch_size=2,
    epochs=5,
    optimizer="adamw",
    learning_rate=4e-3,
    schedule="cosine",
    l2=0.0,
    label_smoothing=0.1,
    validate_every=5,
    seed=1,
)

SCALES = (1.0,)
"""The scales at which the teacher looks at every image for its classes."""

IMAGE_SCALES = (0.5, 0.75, 1.0)
"""The scales of images that are scored."""

LOW = 0.5
"""The IoU below which a class is told as a weakness."""

SIZE = (513, 513)
"""The size of the images of files for devices, in pixels."""


@click.command(cls=Command)
@click.option(
    "--voc", required=True, type=PATH, help="Folder VOC2012 of the kit, with SegmentationClassAug."
)
@click.option("--images", required=True, type=PATH, help="Folder of images without labels.")
@click.option("--teacher", "path", required=True, type=PATH, help="Model of VOC's classes.")
@click.option("--weights", required=True, help="Weights of the encoder, a file or imagenet.")
@click.option("--out", required=True, type=PATH, help="Folder for labels, records and run.")
def main(voc, images, path, weights, out):
    """Train on true labels and on those of a teacher."""
    preset = out / DEFAULT
    if preset.exists():
        raise UserError(f"{preset} is there already: everything is done; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    labels = out / "labels"
    teacher = Teacher(path)
    click.echo(label_images(teacher, images, labels, SCALES, PASCAL_VOC.names, PASCAL_VOC.colors))
    labelled = _link(voc_pairs(voc, "train_aug", "SegmentationClassAug"), out / "train")
    others = _link(pseudo_pairs(images, labels), out / "train")
    _link(voc_pairs(voc, "val", "SegmentationClass"), out / "val")
    build_records(out, out / "voc", labels / "classes.txt", ignore=("255",))
    from rnnseg.training.loop import train

    data = str(out / "voc")
    config = TrainingConfig(data=data, encoder_weights=weights, teacher=str(path), **RECIPE)
    train(config, out / "run", resume=True)
    about = (
        f"{labelled:,} images of PASCAL VOC with their labels, and {others:,} images without, all "
        f"of them with what {path.name} says of them. The encoder has the weights of "
        f"{pathlib.Path(weights).name}."
    )
    make_preset(out / "run", data, about, out / "exported", preset)


def make_preset(
    run: pathlib.Path, data: str, about: str, exported: pathlib.Path, preset: pathlib.Path
) -> None:
    """Scores and exports a trained model, and writes the preset.

    Args:
      run: the folder of the run.
      data: the data set, with the split val.
      about: what the model was trained on, for the model card.
      exported: the folder for the files of devices; one of an earlier call is replaced.
      preset: the folder for the preset, a new one.
    """
    from rnnseg import export_model, load_model
    from rnnseg.data import open_source
    from rnnseg.evaluation import report
    from rnnseg.evaluation.evaluator import Evaluator

    model, source = load_model(run), open_source(data)
    results = [Evaluator(model, range(1, 13), (scale,))(source, "val") for scale in IMAGE_SCALES]
    click.echo(report.table(*results))
    report.save_scores(run / "scores_val.json", *results)
    parity = export_model(
        model, exported, SIZE, ["int8"], data, overwrite=True, on_progress=click.echo
    )
    click.echo(parity.table())
    model.save_to_preset(
        preset,
        description="MobileNetV2 at output stride 16, with a canvas at stride 8: one to twelve "
        "iterations, on images of any scale.",
        data=about,
        license="Apache-2.0",
        command="python -m experiments.voc_distilled",
        weaknesses=weaknesses(max(results, key=lambda each: each.miou.max())),
        litert=exported / "anytime_int8.tflite",
    )
    click.echo(f"wrote {preset}")


def weaknesses(result: "Evaluation") -> str:
    """Returns what the model card says that a model is bad at, from its scores.

    Args:
      result: the evaluation of the model.
    """
    best = result.miou.argmax()
    occurs = result.confusion[best].sum(axis=1) > 0
    rows = list(zip(result.class_names, result.class_iou[best], occurs, strict=True))
    low = [f"{name} {100 * iou:.0f} %" for name, iou, seen in rows if seen and iou < LOW]
    unseen = [name for name, _, seen in rows if not seen]
    needed = next(
        number
        for number, miou in zip(result.iterations, result.miou, strict=True)
        if 2 * miou >= result.miou[best]
    )
    text = ["All that is none of the classes is background."]
    if needed > 1:
        text.append(f"With less than {needed} iterations it misses most of what there is.")
    if low:
        listed = ", ".join(low)
        text.append(f"On the validation images, the IoU is below {100 * LOW:.0f} % for {listed}.")
    if unseen:
        text.append(f"None of them shows {', '.join(unseen)}.")
    return " ".join(text)


Pairs = Iterable[tuple[pathlib.Path, pathlib.Path, pathlib.PurePath]]
"""Images, masks, and the names that they get, without endings."""


def voc_pairs(voc: pathlib.Path, split: str, masks: str) -> Pairs:
    """Yields the labelled images of a split of VOC.

    Args:
      voc: the folder VOC2012.
      split: the name of the list in `ImageSets/Segmentation`.
      masks: the folder of the masks.

    Raises:
      UserError: there is no such list.
    """
    path = voc / "ImageSets" / "Segmentation" / f"{split}.txt"
    try:
        names = path.read_text().split()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    for name in names:
        within = pathlib.PurePath("voc", name)
        yield voc / "JPEGImages" / f"{name}.jpg", voc / masks / f"{name}.png", within


def pseudo_pairs(images: pathlib.Path, labels: pathlib.Path) -> Pairs:
    """Yields the images that the teacher labelled.

    Args:
      images: the folder of the images.
      labels: the folder of their labels.
    """
    for image, mask in label_files(images, labels).items():
        within = mask.relative_to(labels).with_suffix("")
        yield image, mask, pathlib.PurePath("teacher", within)


def _link(pairs: Pairs, folder: pathlib.Path) -> int:
    """Links images and masks below `folder/images` and `folder/masks`; returns their number."""
    count = 0
    for image, mask, within in pairs:
        count += 1
        for file, kind in ((image, "images"), (mask, "masks")):
            link = folder / kind / within.with_suffix(file.suffix.lower())
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(file.resolve())
    return count


if __name__ == "__main__":
    main()
