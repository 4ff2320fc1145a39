"""Inference with a Keras model: class maps within a budget, of arrays and of files."""
