"""Commands that turn labelled images on disk into records that `rnnseg` reads.

`python -m data_prep.voc`, `.cityscapes` and `.coco` build the published data sets, and `.folder`
builds from any folders of images and masks. `python -m data_prep.to_model_garden` writes these, and
any other data that `rnnseg` reads, as records of TensorFlow's Model Garden.

Each command calls `run`, which runs one of the TFDS builders in `builders`. The modules in `plans`
list what the builders write.
"""
