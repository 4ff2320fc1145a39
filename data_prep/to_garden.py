"""The old name of `data_prep.to_model_garden`, which works for one more release."""

import click

from .to_model_garden import main

if __name__ == "__main__":
    click.echo("warning: to_garden is now rnnseg prepare to_model_garden", err=True)
    main()
