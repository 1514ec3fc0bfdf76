"""What agents remember: embedders, limits, and the memory an agent is given."""
