"""Filters that nobody would write, thousands of them: `python -m tests.fuzz`."""
