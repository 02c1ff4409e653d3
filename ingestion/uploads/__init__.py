"""Uploads over HTTP: the page, and ``POST /uploads``."""
