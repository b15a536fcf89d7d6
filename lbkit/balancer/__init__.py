"""The balancer: the machines under one lock. It decides and never waits."""
