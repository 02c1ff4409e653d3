"""What the parts of the pipeline share: configuration, records, the layout of storage, storage."""
