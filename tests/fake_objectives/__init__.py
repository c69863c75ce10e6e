"""A small folder of choices, so that the schema's tests do not depend on the real ones."""
