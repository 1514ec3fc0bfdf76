"""What people hold: the colony command, and what composes the rest."""
