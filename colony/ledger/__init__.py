"""Every task, outcome, message, desired agent and lease: a port, Postgres, and an in-memory twin."""
