"""The page's calls with the npm `openai` package: the other SDK that everybody uses."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).with_name("node")
NODE = shutil.which("node")
LIMIT_S = 60

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (FOLDER / "node_modules" / "openai").is_dir(),
        reason="run `npm ci` in tests/e2e/node to install the openai package",
    ),
]


@pytest.fixture(scope="module")
def saw(gateway):
    """What the script saw."""
    done = subprocess.run(
        [str(NODE), "page.mjs", gateway.base_url, gateway.key],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_unary(saw):
    """A completion has text, usage and the eco block."""
    answer = saw["unary"]

    assert "demo" in answer["choices"][0]["message"]["content"]
    assert answer["lowrouter"]["eco"]["accuracy"] == "gross"
    assert answer["lowrouter"]["eco"]["carbon_per_1k_tokens_g"] > 0


def test_streamed(saw):
    """The loop that reads `choices[0]` of every chunk gets the whole answer."""
    assert saw["unguarded"].startswith("1, 2, 3, 4, 5.")


def test_the_last_chunk_has_the_eco_block(saw):
    """Of a stream the last chunk, and no other, carries `lowrouter`."""
    *others, last = saw["streamed"]["chunks"]

    assert saw["streamed"]["text"].startswith("1, 2, 3.")
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["lowrouter"]["eco"]["energy_wh"] > 0
    assert not any("lowrouter" in chunk for chunk in others)


def test_include_usage(saw):
    """The usage chunk comes last, without choices and with the block."""
    *others, last = saw["usage"]["chunks"]

    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == len(others) - 2
    assert last["lowrouter"]["eco"]["carbon_g"] > 0
    assert all(chunk["choices"] for chunk in others)


def test_regions(saw):
    """A region is pinned by an extra field of the body or by a default header."""
    assert saw["byBody"]["lowrouter"]["region"] == "eu-west"
    assert saw["byHeader"]["lowrouter"]["region"] == "us-east"


def test_models(saw):
    """The SDK's iteration over the models finds them."""
    assert {"openai/gpt-4o-mini", "lowrouter/auto"} <= set(saw["models"])


@pytest.mark.parametrize(
    ("case", "raised", "status", "code", "says"),
    [
        ("wrongKey", "AuthenticationError", 401, "invalid_api_key", "key"),
        ("unknownModel", "NotFoundError", 404, "model_not_found", "gpt-none"),
        ("malformedRoute", "BadRequestError", 400, "invalid_request", "regoin"),
        (
            "unknownRegion",
            "InternalServerError",
            503,
            "no_eligible_provider",
            "eu-west",
        ),
    ],
)
def test_errors(saw, case, raised, status, code, says):
    """Errors are the SDK's own types, and none of these is sent twice."""
    error = saw[case]

    assert (error["raised"], error["status"]) == (raised, status)
    assert error["code"] == code
    assert says in error["message"]
    assert error["sent"] == 1
