"""Pure functions that hide parts of a text and say where."""
