"""What the notifier remembers: images, runs, subscriptions and deliveries, in SQL."""
