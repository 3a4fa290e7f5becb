"""Raw datasets in nnU-Net's layout: dataset.json, labels, images, splits, and what can be wrong with them."""
