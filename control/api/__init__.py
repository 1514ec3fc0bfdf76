"""The HTTP API: jobs, agents, templates and the fleet over HTTP, for programs."""
