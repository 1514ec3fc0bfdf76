"""Who is alive and where: a port, Consul, NATS KV, and an in-memory twin."""
