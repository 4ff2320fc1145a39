"""Runs the command as `python -m rnnseg.cli`."""

from rnnseg.cli.app import main

main()
