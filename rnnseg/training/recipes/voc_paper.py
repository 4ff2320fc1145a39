"""PASCAL VOC 2012 at the paper's scale: its stack on frozen ResNet-101 features, stride 16.

As published: ResNet-101 at output stride 16 whose features come from training on COCO, the stack of
512, 256 and 21 channels, a start from zeros, six iterations and the loss at the last, momentum and
a polynomial schedule. Of the rest the paper's text says nothing; it is as in DeepLabv3 (Chen et
al., 2017), to which the paper goes for most of its settings: 30,000 steps on 16 crops of 513x513.

`docs/training.md` has the commands, and what they need. Nobody has trained it yet: the figures of
this project are of the recipes `camvid` and `voc`.
"""

RECIPE = dict(
    train_split="train_aug",
    encoder="resnet101",
    encoder_weights="imagenet",
    output_stride=16,
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
