"""The log: immutable events in gapless, commit-ordered positions, and the text forms of ids, times and JSON.

Nothing in here knows of a read model or of HTTP: this package imports neither `projections` nor `service`.
"""
