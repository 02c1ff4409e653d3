"""The consumer: fetches the images that references on Kafka point to, and stores them."""
