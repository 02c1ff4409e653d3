"""Ingestion without a broker: references go straight to the consumer's handler.

A source names its references once (``ingest``); uploads leave theirs in storage until their images
are stored, which is what survives the end of the process (``pending``).
"""
