"""The names in event files that writer and reader of the plugin share.

The run of an evaluation has, at its step of training,

- `EVALUATION`: a string tensor, the JSON object that `rnnseg.dashboard.writing` writes;
- `IMAGE` followed by 0, 1, ...: for each of some images, a sequence of blobs: the image (JPEG), its
  label, and its class map after every evaluated number of iterations (palette PNGs).

The data of the standard dashboards are beside them: scalars of one operating point in the same run,
and everything whose step is the number of iterations in a run below it, `ITERATIONS`.
"""

PLUGIN = "rnnseg"
EVALUATION = "rnnseg/evaluation"
IMAGE = "rnnseg/pictures/"
BEFORE_MAPS = 2  # the number of blobs before the class maps of an image
ITERATIONS = "iterations"
