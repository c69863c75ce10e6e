"""What the house reads: tokens, corpora, sequences and their corruption. numpy only, never torch."""
