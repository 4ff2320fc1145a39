r"""Writes the files that the test servers of PASCAL VOC 2012 and of Cityscapes take.

    python -m experiments.submissions voc runs/voc --images VOC2012test.tar --out submissions \
        --iterations 6,12 --scales 0.5,0.75,1,1.25,1.5,1.75 --flip
    python -m experiments.submissions cityscapes runs/cityscapes \
        --images leftImg8bit_trainvaltest.zip --out submissions --iterations 6,12

Segments all images of a split (test, unless `--split` names another) and writes one archive per
number of iterations. Images come from the published archives, or from the folders that they unpack
to. The test images have no published labels.

- VOC, `voc_n6.tgz`: `results/VOC2012/Segmentation/comp6_test_cls/ID.png`, images of one channel
  whose values are the classes, with the palette of the development kit. "comp6" is the competition
  for models that were trained on more than VOC's own training images; an encoder from ImageNet is
  enough.
- Cityscapes, `cityscapes_n6.zip`: `CITY_SEQUENCE_FRAME_labelIds.png` of 2048x1024 pixels, whose
  values are labelIds, not trainIds, exactly one for each test image.

An archive is complete or does not exist. The servers compute the scores of Table 1 and Table 2.

Checked without test images and servers, with `--split val`: the files for VOC have the colours of
the kit's own masks, and counting their pixels gives the mIoU that `rnnseg evaluate` prints;
cityscapesscripts finds the files for Cityscapes by their names, and scores them
(`docs/experiments/paper.md`).
"""

import contextlib
import dataclasses
import io
import pathlib
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence

import click
import numpy as np
from PIL import Image
from rnnseg.data_prep.archives import File, list_files
from rnnseg.data_prep.common import read_encoded_image
from tqdm import tqdm

from rnnseg.cli.base import Group
from rnnseg.cli.parameters import IterationNumbers, Numbers
from rnnseg.data.images import decode_image
from rnnseg.data.tables import CITYSCAPES, PASCAL_VOC
from rnnseg.errors import UserError
from rnnseg.files import atomic_path
from rnnseg.palette import default_colors

from .cityscapes_scoring import IDS
from .runs import require_classes


@dataclasses.dataclass(frozen=True)
class Server:
    """A test server.

    Attributes:
      name: the name of the data set, with which the names of the archives begin.
      class_names: the classes that a model must have.
      ending: the ending of the archive's name.
      list_images: lists the images at a place and of a split, by the names of their PNG files in
        the archive.
      draw: makes the image that the server takes from a class map.
      size: the (width, height) that images must have, in pixels; None: any size.
      test_images: the number of images in the test split.
      place: the place of the images, for the help.
    """

    name: str
    class_names: tuple[str, ...]
    ending: str
    list_images: Callable[[pathlib.Path, str], Mapping[str, File]]
    draw: Callable[[np.ndarray], Image.Image]
    size: tuple[int, int] | None
    test_images: int
    place: str


def list_voc(place: pathlib.Path, split: str) -> dict[str, File]:
    """Lists the images of a split of VOC 2012.

    Args:
      place: an archive or a folder with `JPEGImages` and `ImageSets/Segmentation`, at any depth.
      split: the split whose list names the images.

    Raises:
      UserError: the list is missing, or there are several, or an image is missing.
    """
    listed = f"ImageSets/Segmentation/{split}.txt"
    files = list_files(place, rf"(^|/)({re.escape(listed)}|JPEGImages/[^/]+\.jpg)$")
    lists = [name for name in files if name.endswith(listed)]
    if len(lists) != 1:
        raise UserError(
            f"{place}: {len(lists)} files {listed} there; expected one, as in VOC2012test.tar or "
            "the VOC2012 folder that it unpacks to"
        )
    root = lists[0].removesuffix(listed)
    names = files[lists[0]].read_bytes().decode().split()
    images = {name: files.get(f"{root}JPEGImages/{name}.jpg") for name in names}
    missing = [name for name, file in images.items() if file is None]
    if missing:
        raise UserError(
            f"{place}: {len(missing)} of the {len(names)} images that {listed} names are "
            f"missing, such as {root}JPEGImages/{missing[0]}.jpg"
        )
    folder = f"results/VOC2012/Segmentation/comp6_{split}_cls"
    return {f"{folder}/{name}.png": file for name, file in images.items()}


def list_cityscapes(place: pathlib.Path, split: str) -> dict[str, File]:
    """Lists the images of a split of Cityscapes.

    Args:
      place: the archive of the images, or a folder that is or contains `leftImg8bit`.
      split: the split.

    Raises:
      UserError: there is no image of the split.
    """
    files = list_files(place, rf"(^|/){re.escape(split)}/[^/]+/[^/]+_leftImg8bit\.png$")
    if not files:
        raise UserError(
            f"{place}: no {split}/CITY/*_leftImg8bit.png there; expected "
            "leftImg8bit_trainvaltest.zip or the folder that it unpacks to"
        )
    ending = "_leftImg8bit.png"
    return {
        f"{pathlib.PurePosixPath(name).name.removesuffix(ending)}_labelIds.png": file
        for name, file in files.items()
    }


def draw_voc(class_map: np.ndarray) -> Image.Image:
    """Returns a class map as an image with the 256 colours of the development kit."""
    image = Image.fromarray(class_map.astype(np.uint8))
    image.putpalette(np.uint8(default_colors(256)).tobytes())
    return image


def draw_cityscapes(class_map: np.ndarray) -> Image.Image:
    """Returns a class map as an image of labelIds."""
    return Image.fromarray(IDS[class_map])


VOC_SERVER = Server(
    "voc", PASCAL_VOC.names, ".tgz", list_voc, draw_voc, None, 1456, "VOC2012test.tar"
)
CITYSCAPES_SERVER = Server(
    "cityscapes", CITYSCAPES.names, ".zip", list_cityscapes, draw_cityscapes, (2048, 1024), 1525,
    "leftImg8bit_trainvaltest.zip",
)  # fmt: skip


def write_submissions(
    server: Server,
    model,
    images: Mapping[str, File],
    out: pathlib.Path,
    iterations: Sequence[int],
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> list[pathlib.Path]:
    """Segments images and writes one archive per number of iterations.

    Args:
      server: the server.
      model: a segmenter.
      images: the images, as `server.list_images` returns them.
      out: the folder for the archives.
      iterations: the numbers of iterations.
      scales: the scales at which every image is segmented; the logits of all scales are averaged.
      flip: True to average over mirrored images as well.

    Returns:
      The archives, by rising number of iterations.

    Raises:
      UserError: other classes than the server's, an image that cannot be read or has a wrong size,
        an archive that exists already. No archive is written then.
    """
    from rnnseg.evaluation.evaluator import Evaluator

    require_classes("the model", model.names, server.class_names)
    evaluator = Evaluator(model, iterations, scales, flip)
    paths = [out / f"{server.name}_n{number}{server.ending}" for number in evaluator.iterations]
    for path in paths:
        if path.exists():
            raise UserError(f"{path} exists already: choose another --out")
    with contextlib.ExitStack() as stack:
        archives = [stack.enter_context(_archive(path)) for path in paths]
        bar = tqdm(images.items(), desc="segment", unit="image", disable=None)
        for name, file in bar:
            data, size = read_encoded_image(file, as_stored=True)
            if server.size not in (None, size):
                raise UserError(
                    f"{file}: {size[1]}x{size[0]} pixels; the server takes "
                    f"{server.size[1]}x{server.size[0]}"
                )
            image = decode_image(data, str(file))
            for add, class_map in zip(archives, evaluator.class_maps(image), strict=True):
                encoded = io.BytesIO()
                server.draw(class_map).save(encoded, "PNG")
                add(name, encoded.getvalue())
    return paths


@contextlib.contextmanager
def _archive(path: pathlib.Path) -> Iterator[Callable[[str, bytes], None]]:
    """Yields a function that adds a file to an archive, which is a zip or a compressed tar."""
    with atomic_path(path) as temporary:
        if path.suffix == ".zip":
            with zipfile.ZipFile(temporary, "w") as archive:  # PNG files are compressed already
                yield archive.writestr
            return
        with tarfile.open(temporary, "w:gz") as archive:

            def add(name, data):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))

            yield add


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
def main():
    """Write submission files for the test servers of PASCAL VOC and of Cityscapes."""


def _add_command(server: Server) -> None:
    @main.command(server.name, help=f"Write the submission files for the server of {server.name}.")
    @click.argument("model", metavar="RUN_OR_MODEL")
    @click.option("--images", "place", required=True, type=click.Path(path_type=pathlib.Path),
                  help=f"{server.place}, or the folder that it unpacks to.")  # fmt: skip
    @click.option("--split", default="test", show_default=True, help="Split to segment.")
    @click.option("--iterations", type=IterationNumbers(), default="6", show_default=True,
                  help="Numbers of iterations, such as 6 or 1,6,12; one archive each.")  # fmt: skip
    @click.option("--scales", type=Numbers("S,S,...", float, ","), default="1", show_default=True,
                  help="Average the logits over several scales, such as 0.5,1,1.5.")  # fmt: skip
    @click.option("--flip", is_flag=True, help="Average over mirrored images as well.")
    @click.option("--out", required=True, type=click.Path(path_type=pathlib.Path),
                  help="Folder for the archives.")  # fmt: skip
    def command(model, place, split, iterations, scales, flip, out):
        from rnnseg.models.loading import load_model

        images = server.list_images(place, split)
        paths = write_submissions(server, load_model(model), images, out, iterations, scales, flip)
        if split == "test" and len(images) != server.test_images:
            print(f"note: the server wants {server.test_images} images")
        print("\n".join(f"wrote {path}; images: {len(images)}" for path in paths))


_add_command(VOC_SERVER)
_add_command(CITYSCAPES_SERVER)


if __name__ == "__main__":
    main()
