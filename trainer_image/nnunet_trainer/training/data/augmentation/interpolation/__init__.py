"""Sampling of images and labels between voxels."""
