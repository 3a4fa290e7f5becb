"""`nnunet-operator local …`: one file a command, and what they print."""
