"""Long data URLs are left out of what is parsed, and nothing else is."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowproxy.core.chat import ChatRequest
from lowproxy.core.pictures import LONG, STRIDE, without_pictures

URL = "data:image/png;base64," + "iVBORw0K" * (LONG // 8)


def body(*parts, **fields):
    return orjson.dumps(
        {"messages": [{"role": "user", "content": list(parts)}], "model": "m", **fields}
    )


def image(url=URL):
    return {"type": "image_url", "image_url": {"url": url}}


def emptied(value):
    """What is to be parsed instead, by the parser's own reckoning."""
    if isinstance(value, dict):
        return {name: emptied(each) for name, each in value.items()}
    if isinstance(value, list):
        return [emptied(each) for each in value]
    is_long = isinstance(value, str) and len(value) > 2 * STRIDE
    plain = is_long and value.startswith("data:") and not set(value) & set('"\\\n')
    return "" if plain else value


def test_a_short_body_and_one_without_pictures_stay_the_same_object():
    """What is soon parsed, and what has no picture, is not copied."""
    for text in (
        body(image("data:,x")),
        body({"type": "text", "text": "word " * LONG}),
    ):
        assert without_pictures(text) == (text, 0)
        assert without_pictures(text)[0] is text


@given(
    st.lists(
        st.sampled_from(
            [
                image(),
                image(URL[: 3 * STRIDE]),
                {"type": "text", "text": 'a "quoted" word\\'},
                {"type": "text", "text": f'"{URL}"'},
                {"type": "text", "text": f'\\"{URL}\n'},
                {"type": "text", "text": "x" * 3 * STRIDE},
                {"type": "text", "text": f"see {URL}"},
            ]
        ),
        max_size=5,
    ),
    st.integers(0, 200),
)
@settings(max_examples=30, deadline=None)
def test_only_whole_long_data_urls_are_emptied(parts, shift):
    """Whatever stands around them, wherever they begin; text that holds one is text."""
    text = body({"type": "text", "text": "s" * shift}, *parts)
    less, longest = without_pictures(text)
    parsed = orjson.loads(less)

    if len(text) < LONG:
        assert parsed == orjson.loads(text)
    else:
        assert parsed == emptied(orjson.loads(text))
    gone = len(text) - len(less)
    assert longest == gone or 0 < longest < gone
    assert longest in (0, len(URL), 3 * STRIDE)


def test_a_request_with_a_picture_is_read_and_passed_on_whole():
    """The text counts, the picture is known to be there, and its bytes go up as they came."""
    text = body({"type": "text", "text": "What is it?"}, image(), stream=True)
    chat = ChatRequest.parse(text)

    assert chat.has_media
    assert "vision" in chat.needs
    assert chat.prompt_bytes == len("What is it?")
    sent = b"".join(chat.pieces("up", ask_usage=False))
    assert sent == text.replace(b'"model":"m"', b'"model":"up"')


@pytest.mark.parametrize("cut", [1, 10, 2_000_000])
def test_a_body_that_ends_too_soon_is_malformed_with_a_picture_too(cut):
    """Where it stops being JSON is told by the body that came."""
    whole = body(image(), image())
    text = whole[: max(1, len(whole) - cut)]
    with pytest.raises(Exception, match="not valid JSON") as failure:
        ChatRequest.parse(text)

    with pytest.raises(orjson.JSONDecodeError) as right:
        orjson.loads(text)
    assert f"line {right.value.lineno} column {right.value.colno}" in str(failure.value)
