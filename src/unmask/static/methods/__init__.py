"""How words get their vectors. The folder is the registry."""
