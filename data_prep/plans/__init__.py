"""What the builders build: the files of each data set, and how they become records."""
