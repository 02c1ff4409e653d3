"""How photographs come in: sources, a threaded producer, Kafka, a threaded consumer, uploads."""
