"""Resampling of images and labels to another spacing: a matrix an axis, as skimage and scipy interpolate, or in torch."""
