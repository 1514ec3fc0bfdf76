"""Skills agents share: pure functions over text and data."""
