"""A server without habits of its own, for answers that no simulated server gives."""

from exporter.simulator.http import Answer
from exporter.simulator.server import SimulatedServer


class PlainServer(SimulatedServer):
    """Writes the headers of an answer as they are; a line break in a value makes another header."""

    def head(self, answer: Answer) -> bytes:
        """Return the status line, the headers of the answer, and its length."""
        headers = {**answer.headers, "content-length": str(len(answer.body))}
        lines = [f"HTTP/1.1 {answer.status} Whatever"]
        lines += [f"{name}: {v}" for name, value in headers.items() for v in value.split("\n") if v]
        return "\r\n".join([*lines, "\r\n"]).encode("latin-1")

    def malformed(self) -> Answer:
        """Refuse what is no request."""
        return Answer(400)
