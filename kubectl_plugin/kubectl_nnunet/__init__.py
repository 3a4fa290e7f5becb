"""`kubectl nnunet`: what people ask of training on a cluster, and where they ask for it: kubectl's own plug-in."""
