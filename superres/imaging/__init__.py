"""Images as arrays of samples: decoding, encoding, colour and resampling."""
