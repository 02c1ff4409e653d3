"""Shared by all parts of the pipeline: configuration, records, storage and its layout."""
