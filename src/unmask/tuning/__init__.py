"""What may move in fine-tuning, and what is added. The folder is the registry."""
