"""The plans of the builders: the files of each data set, and how they become records."""
