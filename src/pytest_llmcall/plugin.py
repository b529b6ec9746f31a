"""The pytest11 entry: options, marker, fixtures, hooks. No logic, and nothing heavy at import."""
