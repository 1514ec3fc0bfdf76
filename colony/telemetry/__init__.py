"""Traces: one from what a person asks for to the last call of a model."""
