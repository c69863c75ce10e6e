"""The training step and what keeps it safe. Knows no objective and no model."""
