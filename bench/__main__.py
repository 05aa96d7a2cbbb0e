"""Runs every measurement with its default settings."""

from bench import encode, write

if __name__ == "__main__":
    encode.main([])
    write.main([])
