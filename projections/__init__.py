"""The read models: pure folds of the log, their tables and their queries."""
