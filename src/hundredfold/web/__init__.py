"""What every page and service of ours shares: a socket, a server that waits for nobody, and who may ask."""
