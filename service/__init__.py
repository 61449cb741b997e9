"""The service: HTTP in front of the log and its projections, and the place that puts all parts together."""
