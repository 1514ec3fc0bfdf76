"""Measurements of Colony: figures beside a baseline of the same run. `colony bench NAME`."""
