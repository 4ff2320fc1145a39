"""Commands that turn labelled images on disk into records that `rnnseg` reads.

`python -m data_prep.voc`, `.cityscapes` and `.coco` take the published data sets, `.folder`
anyone's own images and masks. `python -m data_prep.to_garden` writes any such data, and any other
that `rnnseg` reads, as records of TensorFlow's Model Garden.

Commands call `run`, which runs the TFDS builders of `builders`; what they build is in `plans`.
"""
