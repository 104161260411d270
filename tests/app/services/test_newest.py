"""Tests of how overtaken requests are dropped."""

import asyncio

from app.services.newest import Newest, Rerun


def test_only_the_last_request_is_the_newest():
    requests = Newest()
    first, second = requests.begin(), requests.begin()
    assert (first(), second()) == (False, True)


def test_requests_during_a_run_lead_to_one_more():
    async def scenario():
        started, go_on, runs = asyncio.Event(), asyncio.Event(), []

        async def work():
            runs.append(len(runs))
            started.set()
            await go_on.wait()

        rerun = Rerun(work)
        running = asyncio.create_task(rerun.run())
        await started.wait()
        await rerun.run()  # returns at once: the run under way does it
        await rerun.run()
        go_on.set()
        await running
        return runs

    assert asyncio.run(scenario()) == [0, 1]
