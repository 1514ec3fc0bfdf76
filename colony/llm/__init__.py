"""Language models: a port, OpenAI-compatible HTTP, and a scripted twin."""
