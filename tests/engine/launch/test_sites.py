"""The administrator's file: what it may say, and what a run may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import SiteError, SpecError
from engine.launch.sites import Limits, Site, Sites
from engine.spec import LaunchOptions

CLUSTER = {"kind": "slurm", "host": "login", "partitions": ["main", "gpu"], "accounts": ["climate"]}
LIMITS = {"nodes": 2, "processes": 8, "minutes": 60}


def write(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = folder / "targets.yaml"
    path.write_text(text)
    monkeypatch.setenv("MESOSCOPE_TARGETS", str(path))
    return path


def test_without_a_file_there_is_this_machine_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("MESOSCOPE_TARGETS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Sites.read().names == ["local"]


def test_the_users_own_file_is_found(tmp_path, monkeypatch):
    monkeypatch.delenv("MESOSCOPE_TARGETS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".config" / "mesoscope"
    folder.mkdir(parents=True)
    (folder / "targets.yaml").write_text("version: 1\ntargets: {big: {kind: ssh, host: big.example.org}}\n")
    assert Sites.read().names == ["big"]


def test_a_file_of_all_kinds(tmp_path, monkeypatch):
    text = """\
version: 1
targets:
  local: {}
  box: {kind: ssh, host: me@box, folder: ~/work, python: ~/env/bin/python, hosts: ["box:2", "other:2"]}
  big: {kind: slurm, host: login, partitions: [main], limits: {nodes: 2, minutes: 60}, prelude: "module load x"}
  old: {kind: pbs, folder: /scratch/me}
"""
    write(tmp_path, text, monkeypatch)
    targets = Sites.read()
    assert targets.names == ["local", "box", "big", "old"]
    assert [target.remote for target in targets.all] == [False, True, True, True]
    assert [target.scheduled for target in targets.all] == [False, False, True, True]
    assert targets.named("big").limits == Limits(nodes=2, minutes=60)
    assert targets.named("old").connection.host == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected version: 1"),
        ("[]", "expected version: 1"),
        ("version: 2\ntargets: {local: {}}", "expected version: 1"),
        ("version: 1", "targets names none"),
        ("version: 1\ntargets: []", "targets names none"),
        ("version: 1\ntargts: {local: {}}", "targts is not known: did you mean 'targets'"),
        ("version: 1\ntargets: {local: [1]}", "targets.local is [1]: expected a mapping"),
        ("version: 1\ntargets: {'a b': {}}", "a target has the name 'a b'"),
        ("version: 1\ntargets: {\"a\\n\": {}}", "a target has the name 'a\\n'"),
        ("version: 1\ntargets: {'../a': {}}", "a target has the name '../a'"),
        ("version: 1\ntargets: {'.hidden': {}}", "a target has the name '.hidden'"),
        ("version: 1\ntargets: {1: {}}", "a target has the name 1"),
        ("version: 1\ntargets: {a: {kynd: ssh}}", "target.kynd is not an option: did you mean 'kind'"),
        ("version: 1\ntargets: {a: {kind: lsf}}", "one of local, ssh, slurm, pbs"),
        ("version: 1\ntargets: {a: {kind: ssh}}", "target.host is missing"),
        ("version: 1\ntargets: {a: {kind: local, host: b}}", "target.kind is local, but target.host is b"),
        ("version: 1\ntargets: {a: {kind: ssh, host: '-oProxyCommand=x'}}", "target.host is '-oProxyCommand=x'"),
        ("version: 1\ntargets: {a: {kind: ssh, host: 'b c'}}", "target.host is 'b c'"),
        ("version: 1\ntargets: {a: {kind: ssh, host: \"b\\n\"}}", "target.host is 'b\\n'"),
        ("version: 1\ntargets: {a: {kind: ssh, host: b, folder: here}}", "target.folder is 'here'"),
        ("version: 1\ntargets: {a: {kind: ssh, host: b, folder: /a/../b}}", "without '..'"),
        ("version: 1\ntargets: {a: {kind: ssh, host: b, folder: '/a b'}}", "target.folder is '/a b'"),
        ("version: 1\ntargets: {a: {kind: ssh, host: b, python: 'python3;id'}}", "target.python is 'python3;id'"),
        ("version: 1\ntargets: {a: {kind: ssh, host: b, python: \"python3\\n\"}}", "target.python is 'python3\\n'"),
        ("version: 1\ntargets: {a: {kind: slurm, partitions: [\"main\\n#SBATCH\"]}}", "target.partitions is"),
        ("version: 1\ntargets: {a: {kind: slurm, accounts: ['$(id)']}}", "target.accounts is"),
        ("version: 1\ntargets: {a: {kind: slurm, limits: {nods: 1}}}", "did you mean 'nodes'"),
        ("version: 1\ntargets: {a: {kind: slurm, limits: {nodes: true}}}", "limits.nodes is True"),
        ("version: 1\ntargets: {a: {kind: slurm, limits: {nodes: -1}}}", "limits.nodes is -1"),
        ("version: 1\ntargets: {a: {kind: slurm, prelude: \"x\\0\"}}", "NUL"),
        ("version: 1\ntargets: {a: {}, a: {}}", "line 2 gives a a second time"),
        ("version: 1\ntargets: {a: !!python/object/apply:os.getpid []}", "could not determine a constructor"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_says_how_to_mend_it(text, words, tmp_path, monkeypatch):
    path = write(tmp_path, text, monkeypatch)
    with pytest.raises(SiteError) as error:
        Sites.read()
    assert words in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_that_everybody_can_change_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path, "version: 1\ntargets: {local: {}}", monkeypatch)
    path.chmod(0o646)
    with pytest.raises(SiteError, match=f"can be changed by everybody: chmod o-w {path}"):
        Sites.read()


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_refused(content, tmp_path, monkeypatch):
    path = write(tmp_path, "", monkeypatch)
    path.write_bytes(content) if content else path.unlink()
    with pytest.raises(SiteError, match="targets.yaml"):
        Sites.read()


def test_a_name_that_is_mistyped_is_recognised():
    targets = Sites((Site.called("local", {}), Site.called("cluster", CLUSTER)))
    with pytest.raises(SiteError, match="launch.site is 'clustr', which is not known: did you mean 'cluster'"):
        targets.named("clustr")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"processes": 3, "nodes": 3}, "launch.nodes is 3, but target cluster allows at most 2"),
        ({"processes": 9}, "launch.processes is 9, but target cluster allows at most 8"),
        ({"time_limit": 61}, "launch.time_limit is 61, but target cluster allows at most 60"),
        ({"partition": "mian"}, "launch.partition is 'mian', which target cluster doesn't allow: did you mean 'main'"),
        ({"account": "x"}, "launch.account is 'x', which target cluster doesn't allow: known are climate"),
    ],
)
def test_what_the_file_does_not_allow_is_refused(asked, words):
    with pytest.raises(SiteError, match=words.replace("?", "")):
        Site.called("cluster", {**CLUSTER, "limits": LIMITS}).accept(LaunchOptions(site="cluster", **asked))


def test_what_the_file_allows_is_accepted():
    target = Site.called("cluster", {**CLUSTER, "limits": LIMITS})
    most = LaunchOptions(site="cluster", nodes=2, processes=8, time_limit=60, partition="gpu", account="climate")
    target.accept(most)
    assert target.minutes(most) == 60
    assert target.minutes(LaunchOptions(site="cluster")) == 60  # none asked for: the most that is allowed


def test_a_partition_where_none_is_named_is_refused():
    with pytest.raises(SiteError, match="it names none: leave it empty"):
        Site.called("cluster", {"kind": "slurm"}).accept(LaunchOptions(site="cluster", partition="main"))


def test_nodes_of_a_single_host_are_refused():
    with pytest.raises(SiteError, match="is no cluster: set launch.nodes=1"):
        Site.called("box", {"kind": "ssh", "host": "box"}).accept(LaunchOptions(nodes=2, processes=2))


@pytest.mark.parametrize("option", ["site", "partition", "account"])
@pytest.mark.parametrize("word", ["a b", "a\n", "a\n#SBATCH --wrap=id", "$(id)", "`id`", "a;id", "'", '"', "a/../b"])
def test_words_for_a_scheduler_hold_nothing_that_a_shell_or_a_header_reads(option, word):
    with pytest.raises(SpecError, match=f"launch.{option} is "):
        LaunchOptions(**{option: word})
