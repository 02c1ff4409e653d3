"""Ingestion: sources and uploads put references on Kafka; a consumer stores their images."""
