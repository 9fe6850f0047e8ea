"""Data set x method x seed, from a YAML file to tables and pictures."""
