"""Messages between agents: a port, NATS, and an in-memory twin."""
