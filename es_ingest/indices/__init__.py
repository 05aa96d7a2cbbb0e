"""What happens to an index beside writing records into it."""
