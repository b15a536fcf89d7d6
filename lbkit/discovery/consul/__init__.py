"""Consul: the instances of a service, prepared queries, and the registration of a service."""
