"""The groups of the `colony` command. Each module has `register(app)`."""
