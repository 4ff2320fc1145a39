"""CamVid, 11 classes, 360x480: MobileNetV2 trained end to end at output stride 16."""

RECIPE = dict(
    encoder="mobilenet_v2",
    encoder_weights="imagenet",
    output_stride=16,
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
    # Poles, signs and bicyclists are rare, but count in the mIoU as roads do.
    class_weights="auto",
    validate_every=5,
)
