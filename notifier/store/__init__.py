"""The database of the notifier: images, runs, subscriptions and deliveries."""
