"""How the notifier finds out about results: SQS, a watched folder, and scans of storage."""
