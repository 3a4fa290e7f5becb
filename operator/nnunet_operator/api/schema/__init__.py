"""The CRDs as they are made from the models, and manifests checked by them as an API server does it."""
