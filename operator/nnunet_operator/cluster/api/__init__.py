"""The Kubernetes API: requests, credentials, kinds."""
