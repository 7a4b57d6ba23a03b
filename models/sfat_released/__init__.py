"""The network of the SFAT authors' released code, tensor for tensor."""
