"""CamVid, 11 classes, 360x480: MobileNetV2 trained end to end at output stride 16."""

RECIPE = dict(
    encoder="mobilenet_v2",
    encoder_weights="imagenet",
    output_stride=16,
    hidden_channels=(128, 64),
    iterations=6,
    crop=(360, 480),
    scale=(0.75, 1.75),
    batch_size=4,
    epochs=40,
    optimizer="adamw",
    learning_rate=5e-4,
    # Batches of 4 are too small for batch norm's statistics, and the kernels of weights whose batch
    # norm is folded into them are large: an L2 penalty would outweigh the cross-entropy.
    freeze_batch_norm=True,
    l2=0.0,
    # Keeps the canvas from saturating, so that more iterations than six do no harm.
    label_smoothing=0.1,
    validate_every=5,
)
