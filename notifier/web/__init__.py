"""What the notifier answers over HTTP: pages, pictures, a stream of changes and an interface."""
