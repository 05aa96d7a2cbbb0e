"""Training from the command line: pairs out of corpora, what evaluation holds taken out, runs, and their records."""
