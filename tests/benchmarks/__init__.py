"""How fast a real server is, under load from a process beside it: `python -m tests.benchmarks --help`."""
