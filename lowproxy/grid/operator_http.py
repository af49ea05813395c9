"""An HTTP endpoint of the operator's own, with the content of `operator_file`."""

from lowproxy.config import FeedConfig
from lowproxy.core.grid_reading import GridReading
from lowproxy.grid.operator_file import read_zones
from lowproxy.grid.source import Question


class OperatorHttp:
    """One question; a token goes as `Authorization: Bearer`."""

    def __init__(self, config: FeedConfig) -> None:
        self._config = config

    def questions(self, now: float) -> list[Question]:
        """The whole document."""
        bearer = {}
        if self._config.token:
            bearer["Authorization"] = f"Bearer {self._config.token.reveal()}"
        return [Question(self._config.url, fields=bearer)]

    def read(self, question: Question, body: bytes, at: float) -> list[GridReading]:
        """Reads all zones, or those that the configuration names."""
        return read_zones(self._config, body, at)
