"""Starts runs for new images, by a queue with S3's events."""
