"""What a call costs, beside nginx: `python -m bench --help`. The method is in docs/benchmarks.md."""
