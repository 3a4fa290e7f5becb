"""dataset_fingerprint.json: what planning knows about a dataset."""
