from __future__ import annotations

import asyncio

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.deployment.v1 import WorkerDeploymentOptions
from temporalio.api.enums.v1 import WorkerDeploymentVersionStatus
from temporalio.api.taskqueue.v1 import PollerInfo
from temporalio.common import VersioningBehavior
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import PollerBehaviorAutoscaling

from colony.config.built_in import BUILT_IN
from colony.config.model import AgentTypeConfig, Config, FleetConfig
from colony.config.templates import TemplateConfig
from colony.config.temporal import TemporalConfig
from colony.errors import BadInput, ConfigInvalid, DeadlineExceeded, NotFound, Unavailable
from colony.ids import AgentType, Id
from control.stack.proofs_versions import judged, missing, told
from control.worker_versions import to_drain
from workflows.builds import build_of, deployment_of
from workflows.monitor import WebsiteMonitor
from workflows.moving import Tally
from workflows.pipeline import Pipeline
from workflows.promotion import Absences, left_behind, may_become_current
from workflows.templates import BUILT_IN_TEMPLATES, with_templates
from workflows.versioned import PinnedMonitor
from workflows.versions import Deployment, Version, polls_by_build, status_named

BUILDS = ("a", "b", "c")


def seen(current: str, *versions: Version) -> Deployment:
    return Deployment(name="colony", current=current, versions=versions)


def version(build: str, *, pollers: int = 1, pinned: int = 0, was_current: bool = False) -> Version:
    return Version(build=build, status="inactive", pollers=pollers, pinned=pinned, was_current=was_current)


DEPLOYMENTS = st.builds(
    lambda current, rows: seen(
        current, *(version(b, pollers=p, pinned=n, was_current=w) for b, (p, n, w) in zip(BUILDS, rows, strict=True))
    ),
    st.sampled_from(["", *BUILDS]),
    st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans())] * 3),
)


class TestPromotion:
    def test_a_new_build_takes_over(self) -> None:
        assert may_become_current("b", seen("a", version("b"), version("a", was_current=True)), ())

    def test_one_that_was_current_before_does_not_undo_an_upgrade(self) -> None:
        there = seen("b", version("b", was_current=True), version("a", was_current=True))
        assert not may_become_current("a", there, ())

    def test_but_it_does_when_nobody_runs_what_is_current(self) -> None:
        there = seen("b", version("b", pollers=0, was_current=True), version("a", was_current=True))
        assert may_become_current("a", there, {"b"})

    def test_the_first_version_takes_over_from_workers_without(self) -> None:
        assert may_become_current("a", seen("", version("a", was_current=True)), ())

    @given(DEPLOYMENTS, st.sampled_from(BUILDS))
    def test_where_all_others_are_gone_the_one_there_is_current(self, there: Deployment, build: str) -> None:
        assert may_become_current(build, there, set(BUILDS) - {build}) == (there.current != build)

    @given(DEPLOYMENTS, st.sampled_from(BUILDS), st.sets(st.sampled_from(BUILDS)))
    def test_only_the_current_version_takes_jobs_over(self, there: Deployment, build: str, gone: set[str]) -> None:
        behind = left_behind(build, there, gone)
        assert not behind or there.current == build
        for each in behind:
            assert each.build != build
            assert each.pinned
            assert each.build in gone, "who still runs keeps its jobs"

    @given(DEPLOYMENTS, st.sets(st.sampled_from(BUILDS)))
    def test_workers_without_a_version_take_over_once_none_is_current(self, there: Deployment, gone: set[str]) -> None:
        behind = left_behind("", there, gone)
        if there.current:
            assert behind == []
        else:
            assert behind == [each for each in there.versions if each.pinned and each.build in gone]

    def test_a_build_whose_jobs_may_not_have_been_told_is_looked_at(self) -> None:
        there = seen("a", version("a"), version("b", pollers=0))
        assert left_behind("a", there, {"b"}) == []
        assert [each.build for each in left_behind("a", there, {"b"}, {"a", "b"})] == ["b"]
        assert left_behind("a", there, set(), {"a", "b"}) == [], "who still runs keeps its jobs"

    def test_a_server_that_has_just_started_and_knows_no_poller_yet_makes_nobody_gone(self) -> None:
        absences = Absences()
        there, away = seen("a", version("a"), version("b")), seen("a", version("a", pollers=0), version("b"))
        assert absences.gone(there, 0.0) == set()
        assert absences.gone(away, 20.0) == set()
        assert absences.gone(there, 40.0) == set()
        assert absences.gone(away, 60.0) == set()
        assert absences.gone(away, 134.0) == set()
        assert absences.gone(away, 135.0) == {"a"}

    def test_a_last_poll_long_ago_tells_at_once(self) -> None:
        old = version("a", pollers=0).model_copy(update={"polled": 80.0})
        assert Absences().gone(seen("a", old, version("b")), 1000.0) == {"a"}


class TestJudgement:
    def test_a_current_version_without_workers_is_a_fault_with_a_remedy(self) -> None:
        with pytest.raises(Unavailable, match="new jobs wait for ever") as caught:
            judged(seen("a", version("a", pollers=0)), versioning=True)
        assert "colony worker promote" in caught.value.remedy

    def test_so_are_jobs_of_a_version_without_workers(self) -> None:
        with pytest.raises(Unavailable, match="2 jobs wait for b") as caught:
            judged(seen("a", version("a"), version("b", pollers=0, pinned=2), version("c", pollers=0)), versioning=True)
        assert "colony worker drain --move" in caught.value.remedy

    def test_all_is_well(self) -> None:
        there = seen("a", version("a", pollers=2), version("b", pinned=1))
        assert judged(there, versioning=True) == "colony a, 2 pollers"
        assert judged(seen(""), versioning=True) == "workers without a version"
        assert judged(seen(""), versioning=False) == "workers without a version"

    def test_so_are_workers_with_a_version_none_of_which_is_current(self) -> None:
        there = seen("", version("a"), version("b", pollers=0))
        assert there.undecided
        assert missing(there, versioning=True)
        with pytest.raises(Unavailable, match=r"No build is current, though workers run \(a\)") as caught:
            judged(there, versioning=True)
        assert "colony worker promote BUILD" in caught.value.remedy

    def test_they_are_none_where_workers_carry_no_version(self) -> None:
        there = seen("", version("a"))
        assert not missing(there, versioning=False)
        assert judged(there, versioning=False) == "workers without a version"
        assert not seen("", version("a", pollers=0)).undecided

    def test_the_row_of_the_worker_says_what_was_found_or_that_nothing_was(self) -> None:
        async def well() -> tuple[Deployment, bool]:
            return seen("a", version("a")), True

        async def amiss() -> tuple[Deployment, bool]:
            return seen("", version("a")), True

        async def slow() -> tuple[Deployment, bool]:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
            return await well()

        async def late() -> tuple[Deployment, bool]:
            raise DeadlineExceeded("Temporal did not answer in time.")

        async def away() -> tuple[Deployment, bool]:
            raise Unavailable("Temporal does not answer.")

        assert told(well) == told(away) == {}
        assert told(amiss)["state"] == "unavailable"
        assert "colony worker promote" in told(amiss)["note"]
        assert "versions not looked at" in told(slow)["note"]
        assert "versions not looked at" in told(late)["note"]


class TestDrain:
    def test_all_but_the_current_one_are_meant_when_none_is_named(self) -> None:
        assert to_drain(seen("b", *map(version, BUILDS)), "") == ["a", "c"]
        assert to_drain(seen("b", *map(version, BUILDS)), "c") == ["c"]

    def test_the_current_one_and_one_nobody_knows_are_refused(self) -> None:
        with pytest.raises(BadInput, match="is the current one"):
            to_drain(seen("b", *map(version, BUILDS)), "b")
        with pytest.raises(NotFound, match="no build 'x'"):
            to_drain(seen("b", *map(version, BUILDS)), "x")


def test_polls_are_counted_by_build_and_deployment() -> None:
    def poller(name: str, build: str, moment: int) -> PollerInfo:
        options = WorkerDeploymentOptions(deployment_name=name, build_id=build)
        return PollerInfo(deployment_options=options, last_access_time=Timestamp(seconds=moment, nanos=500_000_000))

    polls = polls_by_build([poller("colony", "a", 1), poller("colony", "a", 2), poller("other", "a", 3)], "colony")
    assert polls == {"a": [1.5, 2.5]}


def test_a_status_of_a_newer_server_is_a_number() -> None:
    assert status_named(WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_CURRENT) == "current"
    assert status_named(4711) == "4711"


async def test_what_the_server_says_to_one_job_holds_up_no_other() -> None:
    async def done() -> None:
        return

    async def refused(status: RPCStatusCode) -> None:
        raise RPCError("no", status, b"")

    tally = Tally("a")
    await tally.take("one", refused(RPCStatusCode.INTERNAL))
    await tally.take("two", refused(RPCStatusCode.NOT_FOUND))
    await tally.take("three", done())
    assert (tally.done, tally.failed) == (1, 1), "one that has ended counts for nothing"


class TestBuild:
    def test_the_same_code_and_configuration_are_the_same_build(self) -> None:
        assert build_of(BUILT_IN) == build_of(with_templates(BUILT_IN))
        assert len(build_of(BUILT_IN)) == 12

    def test_a_changed_template_or_agent_type_is_another_build(self) -> None:
        plain = build_of(BUILT_IN)
        template = BUILT_IN_TEMPLATES[Id("durable_tasks")].model_copy(update={"description": "changed"})
        assert isinstance(template, TemplateConfig)
        assert build_of(BUILT_IN.model_copy(update={"workflows": {Id("durable_tasks"): template}})) != plain
        kinds = {AgentType("probe"): AgentTypeConfig(count=9)}
        assert build_of(BUILT_IN.model_copy(update={"fleet": FleetConfig(types=kinds)})) != plain

    def test_what_decides_nothing_is_the_same_build(self) -> None:
        quick = BUILT_IN.fetch.model_copy(update={"timeout": 3.0})
        assert build_of(BUILT_IN.model_copy(update={"fetch": quick})) == build_of(BUILT_IN)

    def test_users_classes_count(self) -> None:
        assert build_of(BUILT_IN, [PollerBehaviorAutoscaling]) != build_of(BUILT_IN)

    def test_a_configured_build_wins_and_versions_can_be_off(self) -> None:
        config = Config(temporal=TemporalConfig(build_id="2026.11", deployment="mine"))
        told = deployment_of(config)
        assert told is not None
        assert (told.version.deployment_name, told.version.build_id) == ("mine", "2026.11")
        assert told.default_versioning_behavior is VersioningBehavior.PINNED
        assert deployment_of(Config(temporal=TemporalConfig(versioning=False)), [Pipeline, WebsiteMonitor]) is None

    def test_a_class_that_needs_versions_is_refused_where_there_are_none(self) -> None:
        with pytest.raises(ConfigInvalid, match="PinnedMonitor has a versioning_behavior"):
            deployment_of(Config(temporal=TemporalConfig(versioning=False)), [Pipeline, PinnedMonitor])
