"""Containers without their images: what a Dockerfile and a pod say, carried out with this machine's own means."""
