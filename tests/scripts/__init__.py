"""Scripts as users of Keras write them, each readable by itself; `test_scripts.py` runs them."""
