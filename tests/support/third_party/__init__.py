"""Other programs, and how they read objects: kubectl, Helm, Kueue, Argo CD, Prometheus, Flux, and nnunetv2 as the oracle."""
