"""How tasks are built from sources and kept on disk."""
