"""DNS: all addresses of a name, and SRV records."""
