"""Cityscapes at the paper's scale: its stack on frozen ResNet-101 features, output stride 16.

As published: the network of `voc_paper` with 19 classes, trained on the coarse labels alone and
scored on all 3,475 fine labels (`rnnseg prepare cityscapes --config coarse`). The paper does not
give the other settings; they are those of DeepLabv3 (Chen et al., 2017): 90,000 steps on 16 crops
of 769x769. On the 2,975 fine labels that is `--epochs 487` and `--validate-every 40`.

`docs/training.md` has the commands and their requirements. The recipe has not been trained yet.
"""

RECIPE = dict(
    encoder="resnet101",
    encoder_weights="imagenet",
    output_stride=16,
    canvas_stride=16,
    hidden_channels=(512, 256),
    iterations=6,
    train_encoder=False,
    crop=(769, 769),
    scale=(0.5, 2.0),
    batch_size=16,
    epochs=63,  # of 1,435 steps
    optimizer="sgd",
    learning_rate=0.007,
    l2=1e-4,
    validate_every=10,
)
