"""`nnunet-operator diagnose`: what is wrong with an installation, and what to do; one file a check."""
