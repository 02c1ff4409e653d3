"""The commands of ingestion, one file each."""
