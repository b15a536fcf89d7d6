"""Fork while a source is asked: nothing is imported then, so the child is never left with half a module."""

import subprocess
import sys
import textwrap

PROLOGUE = """
    import json, socket, sys, threading
    from random import Random
    import anyio
    from lbkit import discovery
    from lbkit.runtime import engine
    from lbkit.runtime.clients import make_client

    engine.ENGINE.start("warm", anyio.lowlevel.checkpoint).join()

    def new_modules(source, reply=None):
        query = source.watch(Random(1)).query(0.0)

        async def ask():
            client = make_client(query)
            before = set(sys.modules)
            await client.ask(query)
            await client.aclose()
            return sorted(set(sys.modules) - before)

        return anyio.run(ask)
"""


def run(body):
    """Run a script in an interpreter of its own, for this one has imported everything already."""
    code = textwrap.dedent(PROLOGUE) + textwrap.dedent(body)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_asking_a_file_imports_nothing(tmp_path):
    """The worker thread that reads it needs a codec."""
    path = tmp_path / "orders.json"
    path.write_text('["10.0.0.1:80"]')
    run(f"assert new_modules(discovery.File({str(path)!r})) == []")


def test_asking_consul_imports_nothing():
    """The HTTP library imports its connections when the first is opened."""
    run("""
        server = socket.create_server(("127.0.0.1", 0))

        def serve():
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\\r\\nX-Consul-Index: 5\\r\\nContent-Length: 2\\r\\n\\r\\n[]")

        threading.Thread(target=serve, daemon=True).start()
        port = server.getsockname()[1]
        assert new_modules(discovery.Consul("orders", agent=f"http://127.0.0.1:{port}")) == []
    """)


def test_asking_dns_imports_nothing():
    """The DNS library imports each type of record when it first comes in an answer."""
    run("""
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))

        def serve():
            while True:
                asked, where = server.recvfrom(4096)
                question = asked[12 : asked.index(b"\\0", 12) + 5]
                record = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4\\x0a\\0\\0\\1" if question[-3] == 1 else b""
                counts = b"\\0\\1" + (b"\\0\\1" if record else b"\\0\\0") + bytes(4)
                server.sendto(asked[:2] + b"\\x81\\x80" + counts + question + record, where)

        threading.Thread(target=serve, daemon=True).start()
        port = server.getsockname()[1]
        assert new_modules(discovery.Dns("orders.test", 80, nameservers=(f"127.0.0.1:{port}",))) == []
    """)
