"""PASCAL VOC 2012, 21 classes: the stack on frozen MobileNetV2 features, output stride 16.

Meant for an encoder that has seen segmentation already (COCO, VOC): give its file by `--weights`.
"""

RECIPE = dict(
    train_split="train_aug",
    encoder="mobilenet_v2",
    encoder_weights="imagenet",
    output_stride=16,
    hidden_channels=(128, 64),
    iterations=6,
    train_encoder=False,
    freeze_batch_norm=True,
    crop=(513, 513),
    scale=(0.5, 2.0),
    batch_size=8,
    epochs=30,
    optimizer="adamw",
    learning_rate=5e-4,
    l2=0.0,
    validate_every=5,
)
