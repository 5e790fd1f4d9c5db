"""Data that grow: streams of image-text pairs in growth steps."""
