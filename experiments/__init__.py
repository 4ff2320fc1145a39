"""Experiments: one small file per table, figure and measurement that the documents quote."""
