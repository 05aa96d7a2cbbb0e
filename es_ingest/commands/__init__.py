"""The subcommands of `es-ingest`, a file each, each importing when it runs: help must not wait for PyTorch."""
