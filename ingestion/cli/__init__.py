"""The commands of ingestion, a file each."""
