"""The notifier over HTTP: the gallery, its pictures, a stream of changes and a REST API."""
