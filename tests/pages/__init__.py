"""Tests of the dashboard in a real browser; `python -m tests.pages` makes the screenshots of the README."""
