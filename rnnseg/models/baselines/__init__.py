"""The feed-forward systems that the recurrence is compared with, on the same encoders."""
