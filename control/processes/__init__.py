"""Entry points of the processes a stack runs, and what they share."""
