"""The shapes that travel over HTTP, one file per noun."""
