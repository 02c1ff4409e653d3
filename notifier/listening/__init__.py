"""How the notifier hears of results: storage events, a watched folder, and looking for itself."""
