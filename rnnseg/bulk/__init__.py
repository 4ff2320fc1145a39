"""Prediction of very many images on Apache Beam, in shards.

`job` holds what is to be done and what of it has been done, `segmenting` segments a shard with a
model that Beam's RunInference shares, `pipeline` is the pipeline, and `storage` reads and writes
files of this machine and of object stores. `beam` reads the options of Beam.
"""

FORMATS = ("png", "tfrecord")
"""What class maps are written as: a file for each image, or one for each shard."""
