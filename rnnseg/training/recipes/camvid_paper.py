"""CamVid with the canvas of the paper: one depth, output stride 16, the loss at the last iteration.

Most experiments on the recurrence itself are with models of this recipe
(`docs/experiments/training.md`); `camvid` is better at every cost.
"""

RECIPE = dict(
    encoder="mobilenet_v2",
    encoder_weights="imagenet",
    output_stride=16,
    canvas_stride=16,
    hidden_channels=(128, 64),
    iterations=6,
    crop=(360, 480),
    scale=(0.75, 1.75),
    batch_size=4,
    epochs=40,
    optimizer="adamw",
    learning_rate=5e-4,
    # Batches of 4 are too small for the statistics of batch norm.
    freeze_batch_norm=True,
    # Weights with a folded batch norm have large kernels, whose penalty would outweigh the
    # cross-entropy.
    l2=0.0,
    # Keeps the canvas from saturating, so that more than six iterations do no harm.
    label_smoothing=0.1,
    validate_every=5,
)
