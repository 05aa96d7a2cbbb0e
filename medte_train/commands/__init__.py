"""The subcommands of `medte-train`, one file each."""
