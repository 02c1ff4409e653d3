"""Sources of images, each a ``source.Source``; ``opening.open_source`` chooses one by URI."""
