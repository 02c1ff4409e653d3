"""Sources of images, each behind ``base.Source``; ``opening.open_source`` chooses one by URI."""
