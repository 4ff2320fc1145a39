"""Recipes: one file per data set, with the settings behind its published results."""
