"""Amazon MSK: clusters are only records; their brokers are one Kafka, started separately."""
