"""The torch parts every model is built of."""
