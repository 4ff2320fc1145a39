"""PASCAL VOC 2012 at the paper's scale: its stack on frozen ResNet-101 features, stride 16.

As published: ResNet-101 at output stride 16 whose features come from training on COCO, the stack of
512, 256 and 21 channels, an initial canvas of zeros, six iterations with the loss at the last one,
momentum and a polynomial schedule. The paper does not give the other settings; they are those of
DeepLabv3 (Chen et al., 2017), which the paper follows in most settings: 30,000 steps on 16 crops of
513x513.

`docs/training.md` has the commands and their requirements. The recipe has not been trained yet: the
figures of this project come from the recipes `camvid` and `voc`.
"""

RECIPE = dict(
    train_split="train_aug",
    encoder="resnet101",
    encoder_weights="imagenet",
    output_stride=16,
    canvas_stride=16,
    hidden_channels=(512, 256),
    iterations=6,
    train_encoder=False,
    crop=(513, 513),
    scale=(0.5, 2.0),
    batch_size=16,
    epochs=46,  # of 661 steps
    optimizer="sgd",
    learning_rate=0.007,
    l2=1e-4,
    validate_every=5,
)
