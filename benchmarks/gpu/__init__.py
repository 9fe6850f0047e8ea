"""What is seen on a GPU: tests, times against peers, training; one command, one table."""
