"""Time and memory against named peers, in one run, on one thread."""
