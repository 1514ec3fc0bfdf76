"""Shared vocabulary of Colony and its ports to the outside world."""
