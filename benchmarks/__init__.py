"""One file per claim: `python -m benchmarks.<name>`."""
