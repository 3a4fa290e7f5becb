"""Sampling of images and labels between voxels, and filters along one axis at a time."""
