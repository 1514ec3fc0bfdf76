"""The one file users edit, and where the servers are."""
