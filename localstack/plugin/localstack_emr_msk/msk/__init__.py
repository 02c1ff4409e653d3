"""Amazon MSK: clusters are records; their brokers are one Kafka that someone else has started."""
