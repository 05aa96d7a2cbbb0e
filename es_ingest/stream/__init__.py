"""One run's stream: records in, acknowledged chunks out, a ledger of what is done and letters of what is not."""
