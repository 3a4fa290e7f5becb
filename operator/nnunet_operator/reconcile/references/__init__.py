"""What a spec refers to: resolved once a pass (`resolved`), then checked; why one has to wait for it."""
