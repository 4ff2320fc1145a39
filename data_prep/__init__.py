"""Builders that turn labelled images on disk into records that `rnnseg` reads.

`rnnseg prepare NAME` runs the command `main` of the module NAME. `voc`, `cityscapes` and `coco`
build the published data sets, and `folder` builds from any folders of images and masks.
`to_model_garden` writes these, and any other data that `rnnseg` reads, as records of TensorFlow's
Model Garden.

Each command calls `run`, which runs one of the TFDS builders in `builders`. The modules in `plans`
list what the builders write.
"""
