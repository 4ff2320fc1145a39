"""PASCAL VOC 2012, 21 classes: the stack on frozen MobileNetV2 features, output stride 16.

The recipe is for an encoder that was trained to segment (COCO, VOC), given by `--weights`, and for
about a thousand images. With ImageNet weights, train the encoder too: `--train-encoder
--learning-rate 2e-4 --epochs 30`.
"""

RECIPE = dict(
    # Of data built with --sbd, or from a kit with SegmentationClassAug; else --train-split train.
    train_split="train_aug",
    encoder="mobilenet_v2",
    encoder_weights="imagenet",
    output_stride=16,
    canvas_stride=16,
    hidden_channels=(128, 64),
    # Frozen features hold little of their surroundings.
    context_channels=64,
    iterations=6,
    train_encoder=False,
    crop=(385, 385),
    scale=(0.5, 2.0),
    batch_size=8,
    epochs=8,
    optimizer="adamw",
    learning_rate=1e-3,
    l2=0.0,
    validate_every=4,
)
