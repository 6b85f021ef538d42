"""The benchmark of the API against its peers: `python -m benchmarks`, or `make bench`."""
