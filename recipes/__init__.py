"""Training runs on public data that anyone can repeat: from published files to scores and their significance."""
