"""Readers that follow the log while it is written, and lose their connections all the time."""
