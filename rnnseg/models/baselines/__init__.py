"""Feed-forward models to compare the recurrence with, on the same encoders."""
