"""One file a word of `kubectl nnunet`: what it takes, and what it prints."""
