"""What the event files hold for the plugin: the names that writer and reader agree on.

The run of an evaluation holds, at the step of training that it belongs to,

- `EVALUATION`: a string tensor, the JSON object that `rnnseg.dashboard.writing` describes;
- `IMAGE` followed by 0, 1, ...: one sequence of blobs for each of a few images: the image
  (JPEG), its label and its class map after every evaluated number of iterations (palette PNGs).

What the stock dashboards show lies beside it: scalars of one point of operation in the same run,
everything whose step is the number of iterations in a run of its own below it, `ITERATIONS`.
"""

PLUGIN = "rnnseg"
EVALUATION = "rnnseg/evaluation"
IMAGE = "rnnseg/pictures/"
BEFORE_MAPS = 2  # blobs of an image that come before its class maps
ITERATIONS = "iterations"
