"""What agents do: one module per type, skills they share, and the contract a user's own class fulfils."""
