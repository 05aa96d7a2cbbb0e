"""Training beside sentence-transformers' own trainer."""
