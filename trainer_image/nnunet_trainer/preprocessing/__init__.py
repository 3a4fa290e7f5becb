"""From images to what training reads: transposed, cropped, normalized, resampled, with the places of each class."""
