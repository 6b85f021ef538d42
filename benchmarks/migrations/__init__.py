"""Readers and writers while migrations run: `python -m benchmarks.migrations --help`."""
