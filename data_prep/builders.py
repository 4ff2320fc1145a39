"""The TFDS builders.

Importing this module registers them with TFDS: `tfds.load("voc_segmentation/augmented")`.
"""

import os
import pathlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from rnnseg.errors import UserError

from .building import SegmentationBuilder, find_source
from .common import BuildPlan
from .plans.cityscapes import DOWNLOADS, plan_cityscapes
from .plans.coco import plan_coco
from .plans.folder import plan_folder
from .plans.voc import plan_voc

_VOC_TAR = "VOCtrainval_11-May-2012.tar"
_VOC_URL = f"http://host.robots.ox.ac.uk/pascal/VOC/voc2012/{_VOC_TAR}"
_SBD_TAR = "benchmark.tgz"
_SBD_URL = (
    "http://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/"
    + _SBD_TAR
)
_COCO_URL = "http://images.cocodataset.org/"


class VocSegmentation(SegmentationBuilder):
    """PASCAL VOC 2012 with its masks, which the `voc` of TFDS leaves out."""

    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name="segmentation", description="The splits of the development kit."
        ),
        tfds.core.BuilderConfig(
            name="augmented",
            description="These splits and train_aug, with the masks of the Semantic Boundaries "
            "Dataset.",
        ),
    ]
    DESCRIPTION = (
        "PASCAL VOC 2012 semantic segmentation: 20 classes and the background; with the augmented "
        "training set of 10,582 images."
    )
    HOMEPAGE = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
    CITATION = """\
@article{everingham2010pascal,
  title={The PASCAL Visual Object Classes (VOC) Challenge},
  author={Everingham, Mark and Van Gool, Luc and Williams, Christopher K. I. and Winn, John and
          Zisserman, Andrew},
  journal={International Journal of Computer Vision},
  volume={88},
  number={2},
  pages={303--338},
  year={2010}
}
@inproceedings{hariharan2011semantic,
  title={Semantic contours from inverse detectors},
  author={Hariharan, Bharath and Arbel{\\'a}ez, Pablo and Bourdev, Lubomir and Maji, Subhransu and
          Malik, Jitendra},
  booktitle={International Conference on Computer Vision},
  year={2011}
}"""
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"{_VOC_TAR} or VOCdevkit, and {_SBD_TAR} for augmented."

    def __init__(
        self,
        *,
        devkit: str | os.PathLike | None = None,
        sbd: str | os.PathLike | None = None,
        **kwargs,
    ):
        """Keeps the paths of the files.

        Args:
          devkit: as in `plans.voc.plan_voc`; None to let TFDS find or download it.
          sbd: as in `plans.voc.plan_voc`, for the config "augmented"; None to let TFDS find or
            download it.
          **kwargs: as in `SegmentationBuilder`.
        """
        self._devkit = devkit
        self._sbd = sbd
        super().__init__(**kwargs)

    @property
    def is_published(self) -> bool:
        """True if TFDS finds or downloads all files under their published names."""
        return self._devkit is None and self._sbd is None

    def _make_plan(self, dl_manager) -> BuildPlan:
        devkit = self._devkit or find_source(
            dl_manager, [_VOC_TAR, "VOCdevkit", "VOC2012"], _VOC_URL
        )
        sbd = None
        if self.builder_config.name == "augmented":
            sbd = self._sbd or find_source(
                dl_manager, [_SBD_TAR, "benchmark_RELEASE", "dataset"], _SBD_URL
            )
        return plan_voc(pathlib.Path(devkit), None if sbd is None else pathlib.Path(sbd))


class SegmentationFolder(SegmentationBuilder):
    """Images and masks from folders."""

    DESCRIPTION = "Images and masks from folders."
    HOMEPAGE = None
    CITATION = None

    def __init__(self, *, folders: dict[str, Any], **kwargs):
        """Keeps the arguments of the plan.

        Args:
          folders: the arguments of `plans.folder.plan_folder`.
          **kwargs: as in `SegmentationBuilder`.
        """
        self._folders = folders
        super().__init__(**kwargs)

    @property
    def is_published(self) -> bool:
        """Always False."""
        return False

    def _make_plan(self, dl_manager) -> BuildPlan:
        return plan_folder(**self._folders)


class CityscapesSegmentation(SegmentationBuilder):
    """Cityscapes with the labels to train on and the masks that the official scores need."""

    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="fine", description="Cityscapes' splits, finely labelled."),
        tfds.core.BuilderConfig(
            name="coarse",
            description="Coarse labels of train and train_extra to train on, and all public fine "
            "labels, of train and val, to test on.",
        ),
        tfds.core.BuilderConfig(
            name="both",
            description="Fine labels of train and coarse labels of train_extra to train on, and "
            "fine labels of val to test on.",
        ),
    ]
    DESCRIPTION = (
        "Cityscapes: street scenes of 50 cities, 2048 x 1024 pixels. label holds the 19 classes to "
        "train on, label_ids and instance_ids are the published masks, unchanged."
    )
    HOMEPAGE = "https://www.cityscapes-dataset.com/"
    CITATION = """\
@inproceedings{cordts2016cityscapes,
  title={The Cityscapes Dataset for Semantic Urban Scene Understanding},
  author={Cordts, Marius and Omran, Mohamed and Ramos, Sebastian and Rehfeld, Timo and
          Enzweiler, Markus and Benenson, Rodrigo and Franke, Uwe and Roth, Stefan and
          Schiele, Bernt},
  booktitle={IEEE Conference on Computer Vision and Pattern Recognition},
  pages={3213--3223},
  year={2016}
}"""
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, and for coarse and both "
        f"leftImg8bit_trainextra.zip and gtCoarse.zip, all from {DOWNLOADS}"
    )

    def __init__(self, *, root: str | os.PathLike | None = None, **kwargs):
        """Keeps the path of the files.

        Args:
          root: as in `plans.cityscapes.plan_cityscapes`; None to let TFDS find it.
          **kwargs: as in `SegmentationBuilder`.
        """
        self._root = root
        super().__init__(**kwargs)

    @property
    def is_published(self) -> bool:
        """True if TFDS finds or downloads all files under their published names."""
        return self._root is None

    def _features(self) -> dict[str, tfds.features.FeatureConnector]:
        mask = (None, None, 1)
        return {
            **super()._features(),
            "label_ids": tfds.features.Image(shape=mask, encoding_format="png"),
            "instance_ids": tfds.features.Image(shape=mask, dtype=np.uint16, encoding_format="png"),
        }

    def _make_plan(self, dl_manager) -> BuildPlan:
        root = self._root or self._find_root(dl_manager)
        return plan_cityscapes(pathlib.Path(root), self.builder_config.name)

    def _find_root(self, dl_manager) -> pathlib.Path:
        names = ["leftImg8bit_trainvaltest.zip", "leftImg8bit"]
        try:
            return find_source(dl_manager, names).parent
        except UserError as error:
            raise UserError(f"{error}, from {DOWNLOADS}") from error


class CocoSegmentation(SegmentationBuilder):
    """COCO's instances as classes of PASCAL VOC, to train encoders on."""

    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="2017", description="The images as split in 2017."),
        tfds.core.BuilderConfig(name="2014", description="The images as split in 2014."),
    ]
    DESCRIPTION = (
        "COCO's instances as semantic segmentation with the 20 classes of PASCAL VOC and the "
        "background: the images with more than 1000 pixels of these classes. Crowds are ignored; "
        "where instances overlap, the smaller one is on top."
    )
    HOMEPAGE = "https://cocodataset.org"
    CITATION = """\
@inproceedings{lin2014microsoft,
  title={Microsoft COCO: Common Objects in Context},
  author={Lin, Tsung-Yi and Maire, Michael and Belongie, Serge and Hays, James and Perona, Pietro
          and Ramanan, Deva and Doll{\\'a}r, Piotr and Zitnick, C. Lawrence},
  booktitle={European Conference on Computer Vision},
  pages={740--755},
  year={2014}
}"""
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "annotations_trainval2017.zip, train2017.zip and val2017.zip, or their contents; with "
        "2014 for the other config."
    )

    def __init__(self, *, root: str | os.PathLike | None = None, **kwargs):
        """Keeps the path of the files.

        Args:
          root: the folder of the published archives or of their contents; None to let TFDS find or
            download them.
          **kwargs: as in `SegmentationBuilder`.
        """
        self._root = root
        super().__init__(**kwargs)

    @property
    def is_published(self) -> bool:
        """True if TFDS finds or downloads all files under their published names."""
        return self._root is None

    def _make_plan(self, dl_manager) -> BuildPlan:
        year = self.builder_config.name
        if self._root is not None:
            return plan_coco([pathlib.Path(self._root)], year)
        sources = [
            find_source(dl_manager, [f"{name}.zip", folder], f"{_COCO_URL}{place}/{name}.zip")
            for place, name, folder in (
                ("annotations", f"annotations_trainval{year}", "annotations"),
                ("zips", f"train{year}", f"train{year}"),
                ("zips", f"val{year}", f"val{year}"),
            )
        ]
        return plan_coco(sources, year)
