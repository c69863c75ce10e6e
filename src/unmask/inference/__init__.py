"""A model in use: loaded, asked, answering."""
