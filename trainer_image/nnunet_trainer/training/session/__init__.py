"""What a training holds: its setup, the session built from it, and what the session is made of."""
