"""`python -m lbkit demo`: real replicas on loopback, real faults, and what an application sees of them.

replica     the server: one process each, stdlib alone
fleet       starts, kills, freezes, slows and restores those processes
faults      which replica suffers what, and when: data
traffic     the two clients that are compared, and their scores
story       what happened, from the cluster's own events, in words
frame       one moment of the demo as values, for the views
plain, live the views: lines of text, and a table that is redrawn (the only file that needs rich)
run         puts them together
"""
