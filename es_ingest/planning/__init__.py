"""What a run would do and need, told beforehand: nothing here writes, and no server is asked."""
