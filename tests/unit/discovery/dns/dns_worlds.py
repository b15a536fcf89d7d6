"""DNS answers in short."""

from random import Random

from lbkit.discovery.dns.records import Answer, Record, Srv


class Highest(Random):
    """Always draws as high as it can."""

    def random(self):
        return 1.0 - 1e-12


class Lowest(Random):
    """Always draws 0."""

    def random(self):
        return 0.0


def record(text):
    """Read "name ttl kind data"; names get their dot."""
    name, ttl, kind, *data = text.split()
    if kind == "SRV":
        priority, weight, port, target = data
        value = Srv(int(priority), int(weight), int(port), dotted(target))
    else:
        value = dotted(data[0]) if kind == "CNAME" else data[0]
    return Record(dotted(name), kind, float(ttl), value)


def dotted(name):
    """Return a name with the dot of the root."""
    return name if name.endswith(".") else f"{name}."


def said(name, kind, *records, additional=(), **more):
    """An answer to a question, with records in text."""
    return Answer(name, kind, tuple(map(record, records)), tuple(map(record, additional)), **more)


def ids(found):
    """The identities of what was found."""
    return [one.id for one in found.endpoints]
