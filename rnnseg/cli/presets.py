"""`rnnseg presets`: lists the pretrained models."""

import click

from rnnseg.cli.base import Command


@click.command(cls=Command)
@click.argument("name", required=False, metavar="[PRESET]")
def presets(name: str | None) -> None:
    r"""List the pretrained models that come with the package.

    Their names, folders of presets, and hf://USER/REPO stand wherever a command takes a model. With
    a preset's name, its model card is printed: classes, training data, scores, weaknesses, licence.

    \b
    rnnseg presets
    rnnseg presets mobilenet_v2_voc
    """
    from rnnseg.pretrained import listing
    from rnnseg.pretrained.names import open_preset
    from rnnseg.pretrained.preset import CARD

    if name is None:
        click.echo(listing.text())
    else:
        click.echo((open_preset(name).folder / CARD).read_text(encoding="utf-8"))
