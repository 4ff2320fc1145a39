"""A shim for tools that do not read `pyproject.toml`; all settings are in `setup.cfg`."""

from setuptools import setup

setup()
