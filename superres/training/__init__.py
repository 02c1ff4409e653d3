"""Training FSRCNN on folders of images."""
