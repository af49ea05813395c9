"""Every live grid source on one port, with their real shapes and their real refusals.

What a test sets on it is what goes wrong: a status, a number that is none, another zone.
"""

import asyncio
import datetime
from typing import Any, Self

import orjson
from aiohttp import web

from lowproxy.config import FeedConfig
from lowproxy.core.grid_kinds import KINDS
from lowproxy.core.secret import Secret

TOKEN = "grid-token-canary-5f1c77d0"
NOW = datetime.datetime(2026, 11, 22, 10, 20, tzinfo=datetime.UTC).timestamp()
# The zone that each is asked for in tests, its name there, and where it is.
PLACES = {
    "electricitymaps": ("FR", "FR", ""),
    "uk": ("GB", "GB", ""),
    "odre": ("FR", "FR", ""),
    "eia": ("US-MIDA-PJM", "PJM", ""),
    "entsoe": ("FR", "10YFR-RTE------C", ""),
    "carbonaware": ("NL", "westeurope", ""),
    "http": ("FR", "FR", "/zones"),
}


def feed_config(kind: str, base_url: str = "", **options: Any) -> FeedConfig:
    """A feed as the configuration makes it."""
    zone, name, path = PLACES.get(kind, ("FR", "FR", ""))
    made: dict[str, Any] = {
        "kind": kind,
        "label": KINDS[kind].label,
        "factor": "lifecycle",
        "url": base_url + path,
        "path": None,
        "token": Secret(TOKEN) if KINDS[kind].token else None,
        "zones": {zone: name},
        "refresh_s": 600.0,
        "max_age_s": KINDS[kind].max_age_s,
        "timeout_s": 5.0,
    }
    return FeedConfig(**(made | options))


def stamp(at: float, form: str = "%Y-%m-%dT%H:%M:%S+00:00") -> str:
    """A moment, spelled as a source does."""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime(form)


class FakeGrid:
    """The sources. `number` takes the place of what is told; `fault` of the whole answer."""

    def __init__(self) -> None:
        self.now = NOW
        self.number: object = 38.0
        self.age_s = 1200.0  # of what is told
        self.zone: str | None = None  # told instead of the one asked for
        self.fault: web.Response | str | None = None  # or "hang", "drip"
        self.seen: list[web.Request] = []
        self.base_url = ""
        self._release = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/v4/carbon-intensity/latest", self._electricitymaps)
        app.router.add_get("/intensity", self._uk)
        app.router.add_get("/generation", self._uk)
        records = "/api/explore/v2.1/catalog/datasets/eco2mix-national-tr/records"
        app.router.add_get(records, self._odre)
        app.router.add_get("/v2/electricity/rto/fuel-type-data/data/", self._eia)
        app.router.add_get("/api", self._entsoe)
        app.router.add_get("/emissions/bylocation", self._carbonaware)
        app.router.add_get("/zones", self._operator)
        app.middlewares.append(self._faulty)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._release.set()
        await self._runner.cleanup()

    @property
    def at(self) -> float:
        """The moment that it tells of."""
        return self.now - self.age_s

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.seen.append(request)
        fault = self.fault
        if isinstance(fault, web.Response):
            return web.Response(
                status=fault.status, headers=fault.headers, body=fault.body
            )
        if fault == "hang":
            await self._release.wait()
        if fault == "drip":  # a head, and then a body that never ends
            answer = web.StreamResponse()
            await answer.prepare(request)
            await answer.write(b'{"zone"')
            await self._release.wait()
            return answer
        told: web.StreamResponse = await handler(request)
        return told

    async def _electricitymaps(self, request: web.Request) -> web.Response:
        if request.headers.get("auth-token") != TOKEN:
            return _json({"error": "Invalid auth-token"}, 401)
        if request.query["disableCallerLookup"] != "true":
            return _json({"status": "error", "message": "looked up"}, 404)
        return _json(
            {
                "zone": self.zone or request.query["zone"],
                "carbonIntensity": self.number,
                "datetime": stamp(self.at, "%Y-%m-%dT%H:%M:%S.000Z"),
                "updatedAt": stamp(self.now, "%Y-%m-%dT%H:%M:%S.004Z"),
                "createdAt": stamp(self.now - 3e5, "%Y-%m-%dT%H:%M:%S.120Z"),
                "emissionFactorType": request.query["emissionFactorType"],
                "isEstimated": True,
                "estimationMethod": "TIME_SLICER_AVERAGE",
                "temporalGranularity": "hourly",
            }
        )

    async def _uk(self, request: web.Request) -> web.Response:
        span = {
            "from": stamp(self.at, "%Y-%m-%dT%H:%MZ"),
            "to": stamp(self.at + 1800, "%Y-%m-%dT%H:%MZ"),
        }
        if request.path == "/intensity":
            told = {"forecast": 142, "actual": self.number, "index": "moderate"}
            return _json({"data": [{**span, "intensity": told}]})
        mix = {"biomass": 6, "coal": 0, "imports": 10, "gas": self.number}
        mix |= {"nuclear": 15, "other": 0, "hydro": 1, "solar": 2, "wind": 28}
        shares = [{"fuel": fuel, "perc": share} for fuel, share in mix.items()]
        return _json({"data": {**span, "generationmix": shares}})

    async def _odre(self, request: web.Request) -> web.Response:
        if "is not null" not in request.query["where"]:
            return _json({"total_count": 1, "results": [{"date_heure": None}]})
        row: dict[str, object] = {
            "taux_co2": self.number,
            "gaz": self.number,
            "fioul": 79,
            "charbon": 0,
            "nucleaire": 45123,
            "eolien": 5320,
            "solaire": 1840,
            "hydraulique": 6711,
            "bioenergies": 1023,
            "date_heure": stamp(self.at),
        }
        wanted = request.query["select"].split(",")
        told = {name: row[name] for name in wanted}
        return _json({"total_count": 9164, "results": [told]})

    async def _eia(self, request: web.Request) -> web.Response:
        if request.query.get("api_key") != TOKEN:
            text = "An invalid api_key was supplied."
            return _json({"error": {"code": "API_KEY_INVALID", "message": text}}, 403)
        mix = {"COL": "15020", "NG": self.number, "NUC": "31875", "OTH": "400"}
        mix |= {"SUN": "-12", "WAT": "1200", "WND": "4100", "OIL": "90"}
        newest = [
            {
                "period": stamp(self.at, "%Y-%m-%dT%H"),
                "respondent": self.zone or request.query["facets[respondent][]"],
                "fueltype": fuel,
                "value": value,
                "value-units": "megawatthours",
            }
            for fuel, value in mix.items()
        ]
        return _json({"response": {"total": "9000", "data": newest}, "request": {}})

    async def _entsoe(self, request: web.Request) -> web.Response:
        if request.query.get("securityToken") != TOKEN:
            return web.Response(status=401, text="<html>Unauthorized</html>")
        number = "NaN" if self.number is None else str(self.number)
        mix = [("B04", number), ("B14", "45000"), ("B12", "6000"), ("B19", "5000")]
        text = generation(self.zone or request.query["in_Domain"], self.at, mix)
        return web.Response(text=text, content_type="text/xml")

    async def _carbonaware(self, request: web.Request) -> web.Response:
        location = self.zone or request.query["location"]
        row = {"location": location, "time": stamp(self.at), "rating": self.number}
        older = row | {"time": stamp(self.at - 300), "rating": 999}
        return _json([{**older, "duration": "00:05:00"}, row])

    async def _operator(self, request: web.Request) -> web.Response:
        told = {"g_per_kwh": self.number, "at": stamp(self.at)}
        return _json({self.zone or "FR": told})


def generation(zone: str, at: float, mix: list[tuple[str, str]]) -> str:
    """An A75 document: quarters of an hour, the later ones left out as in curve A03."""
    start, end = stamp(at, "%Y-%m-%dT%H:%MZ"), stamp(at + 2700, "%Y-%m-%dT%H:%MZ")
    series = [
        f"""<TimeSeries><mRID>1</mRID><businessType>A01</businessType>
        <inBiddingZone_Domain.mRID codingScheme="A01">{zone}</inBiddingZone_Domain.mRID>
        <quantity_Measure_Unit.name>MAW</quantity_Measure_Unit.name>
        <curveType>A03</curveType><MktPSRType><psrType>{kind}</psrType></MktPSRType>
        <Period><timeInterval><start>{start}</start><end>{end}</end></timeInterval>
        <resolution>PT15M</resolution>
        <Point><position>1</position><quantity>{quantity}</quantity></Point>
        </Period></TimeSeries>"""
        for kind, quantity in mix
    ]
    return (
        '<?xml version="1.0" encoding="UTF-8"?><GL_MarketDocument xmlns='
        '"urn:iec62325.351:tc57wg16:451-6:generationloaddocument:3:0">'
        f"<mRID>x</mRID><type>A75</type>{''.join(series)}</GL_MarketDocument>"
    )


def _json(value: object, status: int = 200) -> web.Response:
    body = orjson.dumps(value)
    # What JSON does not have and lying sources send all the same.
    body = body.replace(b'"<NaN>"', b"NaN").replace(b'"<1e999>"', b"1e999")
    return web.Response(status=status, body=body, content_type="application/json")
