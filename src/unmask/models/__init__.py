"""One file per data flow; `shape` holds the numbers that tell one encoder from another."""
