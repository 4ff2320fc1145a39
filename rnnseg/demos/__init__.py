"""The demos of `rnnseg demo`.

`photographs` segments the images and the clip of `media` with a preset. `drawn` trains a small
model on drawn shapes. `folder` is where both write to.
"""
