"""What training has left in the storage, read with the caller's own credentials: results, logs, plots."""
