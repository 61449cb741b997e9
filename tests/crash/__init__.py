"""Kills servers and databases under load and looks for what they lost: `python -m tests.crash --help`."""
