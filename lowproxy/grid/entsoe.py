"""Europe: generation by type (A75, realised) from ENTSO-E's platform, times life cycle factors.

https://transparencyplatform.zendesk.com/hc/en-us/articles/15692855254548-Sitemap-for-Restful-API-Integration.
The token is free, and given on request.
"""

import datetime
import re
from collections.abc import Iterator
from typing import cast
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from lowproxy.config import FeedConfig
from lowproxy.core.grid_mix import OTHER, fullest, lifecycle
from lowproxy.core.grid_reading import (
    GridReading,
    RejectedReadingError,
    garbage,
    moment,
    number,
)
from lowproxy.grid.source import Question

# Types without a factor (coal gas, oil shale, peat, waste, ...) are `other`.
_FUELS = {
    "B01": "biomass",
    "B02": "coal",  # lignite: the table of factors has one coal
    "B04": "gas",
    "B05": "coal",
    "B06": "oil",
    "B09": "geothermal",
    "B11": "hydro",
    "B12": "hydro",
    "B14": "nuclear",
    "B16": "solar",
    "B18": "wind",
    "B19": "wind",
}
_STORAGE = ("B10", "B25")
# Enough to hold the newest complete hour where it is published late.
_WINDOW_S = 4 * 3600
_RESOLUTION = re.compile(r"PT(15|30|60)M")
# Some times what a full answer has; to read more would keep requests waiting.
_MAX_POINTS = 5000
_MAX_EVENTS = 20_000
_MAX_DEPTH = 12
_PIECE_BYTES = 4096
_Events = Iterator[tuple[str, Element]]


class Entsoe:
    """One question per bidding zone."""

    def __init__(self, config: FeedConfig) -> None:
        self._config = config

    def questions(self, now: float) -> list[Question]:
        """The last hours of each."""
        config = self._config
        return [
            Question(
                f"{config.url}/api",
                zone,
                {
                    "securityToken": config.token.reveal() if config.token else "",
                    "documentType": "A75",
                    "processType": "A16",
                    "in_Domain": name,
                    "periodStart": _spelled(now - _WINDOW_S),
                    "periodEnd": _spelled(now),
                },
            )
            for zone, name in config.zones.items()
        ]

    def read(self, question: Question, body: bytes, at: float) -> list[GridReading]:
        """Reads the newest moment at which most types have reported."""
        assert question.zone is not None, "each question is about one zone"
        document = _document(body)
        mixes: dict[float, dict[str, float]] = {}
        points = 0
        for series in _all(document, "TimeSeries"):
            domain = _text(series, "inBiddingZone_Domain.mRID")
            if domain is None:
                continue  # what pumps and plants take out of the grid
            if domain != self._config.zones[question.zone]:
                raise RejectedReadingError("wrong_zone")
            kind = _text(series, "MktPSRType/psrType")
            if kind in _STORAGE:
                continue
            fuel = _FUELS.get(kind or "", OTHER)
            for begin, megawatts in _points(series):
                mix = mixes.setdefault(begin, {})
                mix[fuel] = mix.get(fuel, 0.0) + megawatts
                points += 1
                if points > _MAX_POINTS:
                    garbage()
        begin = fullest(mixes)
        grams = lifecycle(mixes[begin])
        return [GridReading(question.zone, grams, begin, estimated=True)]


def _spelled(at: float) -> str:
    """A full hour as the platform wants it: `yyyyMMddHHmm`, in UTC."""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y%m%d%H00")


def _document(body: bytes) -> Element:
    root = _parsed(body)
    name = root.tag.rpartition("}")[2]
    if name == "Acknowledgement_MarketDocument":
        raise RejectedReadingError("no_data")
    return root if name == "GL_MarketDocument" else garbage()


def _parsed(body: bytes) -> Element:
    """The root; parsed piece by piece, so that a monster is put away early."""
    if b"<!DOCTYPE" in body:  # the platform sends none; only a bomb needs one
        garbage()
    parser: XMLPullParser[Element] = XMLPullParser(("start", "end"))
    root: Element | None = None
    depth = count = 0
    try:
        for begin in range(0, len(body), _PIECE_BYTES):
            parser.feed(body[begin : begin + _PIECE_BYTES])
            for event, element in cast(_Events, parser.read_events()):
                root = element if root is None else root
                depth += 1 if event == "start" else -1
                count += 1
                if depth > _MAX_DEPTH or count > _MAX_EVENTS:
                    garbage()
        parser.close()
    except (ParseError, ValueError, LookupError):
        garbage()
    return garbage() if root is None else root


def _points(series: Element) -> Iterator[tuple[float, float]]:
    """Beginnings and megawatts; points that repeat the one before are left out there."""
    for period in _all(series, "Period"):
        resolution = _RESOLUTION.fullmatch(_text(period, "resolution") or "")
        step_s = 60 * int(resolution[1]) if resolution else 0
        start = moment(_text(period, "timeInterval/start"))
        end = moment(_text(period, "timeInterval/end"))
        if not step_s or not 0 < end - start <= 2 * 86400:
            garbage()
        given = {
            int(number(_text(point, "position"))): number(_text(point, "quantity"))
            for point in _all(period, "Point")
        }
        if 1 not in given:
            garbage()
        latest = given[1]
        for position in range(1, int((end - start) // step_s) + 1):
            latest = given.get(position, latest)
            yield start + (position - 1) * step_s, latest


def _all(parent: Element, name: str) -> list[Element]:
    return parent.findall(f"{{*}}{name}")


def _text(parent: Element, path: str) -> str | None:
    steps = "/".join(f"{{*}}{step}" for step in path.split("/"))
    return parent.findtext(steps)
