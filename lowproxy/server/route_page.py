"""`POST /route`: where a request would go and why. The body is that of a chat completion; nobody is asked."""

from lowproxy.core.chat import ChatRequest
from lowproxy.core.parsing import dumps
from lowproxy.server.choosing import ECO, REGION, choose
from lowproxy.server.exchange import Exchange
from lowproxy.server.parts import Parts
from lowproxy.server.proxy import body_here, body_to_come
from lowproxy.server.wire import Reply, Request, send


async def explain_route(parts: Parts, request: Request, exchange: Exchange) -> Reply:
    """The choice, and the trace of the decision; a failure has the trace, too."""
    limit = parts.config.server.max_body_bytes
    body = body_here(request, limit)
    if body is None:
        body = await body_to_come(request, limit, parts.body_watch)
    headers = request.headers
    chat = ChatRequest.parse(body, headers.get(REGION), headers.get(ECO))
    exchange.requested_model, exchange.trace = chat.model, True
    assert exchange.key is not None, "the door lets nobody in without a key"
    price = 0.0
    if parts.carbon is not None:
        price = parts.carbon.price(exchange.key, exchange.began)
    decision = exchange.decision = choose(parts, exchange, chat, price)
    chosen = decision.chosen
    answer = {
        "object": "route",
        "model": chosen.model.id,
        "lowrouter": {
            **exchange.about(),
            "provider": chosen.endpoint.provider.id,
            "region": chosen.endpoint.region,
            "region_provenance": chosen.endpoint.provenance,
        },
    }
    exchange.http_status = 200
    return send(request, 200, exchange.answer_fields(), dumps(answer))
