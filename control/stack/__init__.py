"""The stack: finds, starts, watches and stops the servers and processes of one data directory."""
