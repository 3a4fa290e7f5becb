"""The Kubernetes API: requests, credentials, kinds, the server's clock."""
