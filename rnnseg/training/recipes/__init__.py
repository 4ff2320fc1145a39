"""Recipes: one small file for each data set, with the settings that its results came from."""
