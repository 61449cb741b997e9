"""The database's schema, step by step. Run by `service.migration`; see `docs/architecture.md`."""
