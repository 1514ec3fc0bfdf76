"""Models of the embedded backend: what fits, what is loaded, what runs it."""
