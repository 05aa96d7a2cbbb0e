"""The subcommands of `medte-eval`, a file each, each importing when it runs: help must not wait for mteb."""
