"""Commands that turn labelled pictures on disk into records that `rnnseg` reads.

`python -m data_prep.voc` takes the PASCAL VOC development kit, `python -m data_prep.folder` takes
anyone's own pictures and masks.

`python -m data_prep.to_garden` writes any such data, and any other that `rnnseg` reads, as records
of TensorFlow's Model Garden.
"""
