"""Where agents live: placement, hosts, the fleet."""
