"""`python -m lbkit resolve`: what a target yields and how it changes, for those who wonder what an application sees.

observer     follows a target with a cluster of its own, and says what is there and what is new
change       what differs between two memberships: a value
plain, lines the views: text for people, and JSON for machines
run          puts them together
"""
