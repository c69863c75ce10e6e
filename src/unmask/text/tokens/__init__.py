"""Text to tokens: vocabularies loaded or learned, and which tokens belong together."""
