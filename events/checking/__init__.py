"""Checking the log slice by slice, for `events.verification`: one module for each kind of row."""
