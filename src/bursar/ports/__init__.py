"""The seams between rooms: small Protocols that two implementations, or two rooms that must not meet, share."""
