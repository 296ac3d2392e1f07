"""The web front end: requests in, messages to the actors out."""
