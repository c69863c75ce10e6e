"""Static vectors: one for each word, whatever stands beside it. The baseline before context."""
