"""The terminals that the contract of the Broker port is held against."""

from collections.abc import Iterator

import pytest
from tests.adapters_mt5.bench import (
    SECRET,
    Bench,
    LocalBench,
    RemoteBench,
    accelerated,
    described,
    external,
    running,
)


@pytest.fixture(scope="module", params=["local", "process", *(["external"] if external() else [])])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "local":
        yield LocalBench(description=described())
    elif request.param == "process":
        with running(accelerated()) as (port, _):
            yield RemoteBench(host="127.0.0.1", port=port, secret=SECRET)
    else:
        own = external()
        assert own is not None
        yield own
