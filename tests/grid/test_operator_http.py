"""An endpoint of the operator's own."""

from lowproxy.core.secret import Secret
from lowproxy.grid.operator_http import OperatorHttp
from tests.grid_server import NOW, TOKEN, feed_config


def test_it_is_asked_once_for_all():
    """With a token where there is one."""
    made = OperatorHttp(feed_config("http", "http://grid.internal", zones={}))
    (question,) = made.questions(NOW)
    assert (question.where, question.fields) == ("http://grid.internal/zones", {})
    made = OperatorHttp(feed_config("http", token=Secret(TOKEN)))
    (question,) = made.questions(NOW)
    assert question.fields == {"Authorization": f"Bearer {TOKEN}"}


def test_it_says_what_the_file_says():
    """A zone that does not say when is of when it was asked for."""
    made = OperatorHttp(feed_config("http", zones={}))
    (reading,) = made.read(made.questions(NOW)[0], b'{"FR":38.5}', NOW)
    assert (reading.zone, reading.grams_per_kwh, reading.at) == ("FR", 38.5, NOW)
