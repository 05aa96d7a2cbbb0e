"""The stream on several machines: the driver reads, compares and keeps the ledger; Ray's workers encode and write."""
