"""A corpus on disk: made of documents, restartable, and read through memory maps."""
