"""Kazoo against a server: CONNECT PROXY CONTROL ALL. Prints one line per case, then the counts."""

import logging
import socket
import sys
import threading
import time
import traceback

from kazoo import exceptions as ex
from kazoo.client import KazooClient, KazooState
from kazoo.protocol.states import EventType
from kazoo.security import CREATOR_ALL_ACL, make_digest_acl

CONNECT, PROXY, CONTROL, ALL = sys.argv[1:5]
LIMIT = 60
logging.basicConfig(level=logging.CRITICAL)
CASES = []


def case(function):
    CASES.append(function)
    return function


def client(hosts=CONNECT, timeout=10.0, **more):
    zk = KazooClient(hosts=hosts, timeout=timeout, **more)
    zk.start(timeout=LIMIT)
    return zk


def order(letter):
    host, port = CONTROL.split(":")
    with socket.create_connection((host, int(port))) as control:
        control.sendall(letter)
        assert control.recv(1) == b""


def refused(kind, call, *args, **more):
    try:
        call(*args, **more)
    except kind as error:
        return error
    raise AssertionError("expected %s" % kind.__name__)


def until(holds, what):
    end = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < end, "never: " + what
        time.sleep(0.02)


class Seen:
    """A watcher that keeps what it was told."""

    def __init__(self):
        self.events = []

    def __call__(self, event):
        self.events.append((event.type, event.path))

    def expect(self, *events):
        until(lambda: len(self.events) >= len(events), "%s in %s" % (events, self.events))
        assert self.events == list(events), self.events


@case
def persistent_node(zk, at):
    assert zk.create(at, b"one", makepath=True) == at
    refused(ex.NodeExistsError, zk.create, at, b"")
    data, stat = zk.get(at)
    assert data == b"one" and stat.version == 0 and stat.data_length == 3
    changed = zk.set(at, b"second")
    assert changed.version == 1 and changed.mzxid > changed.czxid and changed.mtime >= changed.ctime
    assert zk.get(at)[0] == b"second"
    refused(ex.BadVersionError, zk.set, at, b"x", version=0)
    refused(ex.BadVersionError, zk.delete, at, version=7)
    zk.create(at + "/child")
    refused(ex.NotEmptyError, zk.delete, at)
    stat = zk.exists(at)
    assert stat.cversion == 1 and stat.numChildren == 1 and stat.pzxid > stat.mzxid
    zk.delete(at + "/child")
    zk.delete(at, version=1)
    assert zk.exists(at) is None
    refused(ex.NoNodeError, zk.get, at)
    refused(ex.NoNodeError, zk.set, at, b"")
    refused(ex.NoNodeError, zk.delete, at)


@case
def create_with_stat(zk, at):
    path, stat = zk.create(at, b"xyz", include_data=True)
    assert path == at and stat.data_length == 3 and stat.czxid == stat.mzxid == stat.pzxid
    assert stat == zk.exists(at)


@case
def ephemeral_node(zk, at):
    other = client()
    other.create(at, b"mine", ephemeral=True)
    assert zk.exists(at).ephemeralOwner == other.client_id[0]
    refused(ex.NoChildrenForEphemeralsError, zk.create, at + "/child")
    other.stop()
    assert zk.exists(at) is None
    other.close()


@case
def sequential_nodes(zk, at):
    zk.create(at)
    names = [zk.create(at + "/n-", sequence=True) for _ in range(3)]
    assert names == ["%s/n-%010d" % (at, number) for number in range(3)], names
    zk.delete(names[2])
    assert zk.create(at + "/m-", ephemeral=True, sequence=True).endswith("m-0000000003")
    assert sorted(zk.get_children(at)) == ["m-0000000003", "n-0000000000", "n-0000000001"]
    assert zk.create(at + "/", sequence=True) == at + "/0000000004"


@case
def children_with_stat(zk, at):
    zk.create(at)
    zk.create(at + "/b")
    zk.create(at + "/a")
    children, stat = zk.get_children(at, include_data=True)
    assert sorted(children) == ["a", "b"] and stat.numChildren == 2 and stat.cversion == 2


@case
def transaction_commits(zk, at):
    batch = zk.transaction()
    batch.create(at, b"x")
    batch.create(at + "/n", sequence=True)
    batch.set_data(at, b"y")
    batch.check(at, 1)
    batch.delete(at + "/n0000000000")
    results = batch.commit()
    assert results[0] == at and results[1] == at + "/n0000000000"
    assert results[2].version == 1 and results[3] is True and results[4] is True, results
    assert zk.get(at)[0] == b"y"


@case
def transaction_fails_whole(zk, at):
    batch = zk.transaction()
    batch.create(at)
    batch.check(at, 9)
    batch.create(at + "/x")
    kinds = [type(result) for result in batch.commit()]
    assert kinds == [ex.RolledBackError, ex.BadVersionError, ex.RuntimeInconsistency], kinds
    assert zk.exists(at) is None


@case
def one_shot_watches(zk, at):
    born, data, children, gone = Seen(), Seen(), Seen(), Seen()
    zk.exists(at, watch=born)
    zk.create(at, b"")
    born.expect((EventType.CREATED, at))
    zk.get(at, watch=data)
    zk.get_children(at, watch=children)
    zk.set(at, b"1")
    zk.set(at, b"2")
    data.expect((EventType.CHANGED, at))
    zk.create(at + "/c")
    zk.delete(at + "/c")
    children.expect((EventType.CHILD, at))
    zk.get(at, watch=gone)
    zk.delete(at)
    gone.expect((EventType.DELETED, at))
    zk.sync(at)
    assert len(data.events) == len(children.events) == len(born.events) == 1


@case
def recipes_of_watches(zk, at):
    zk.create(at, b"0")
    data, children = [], []
    zk.DataWatch(at, lambda value, stat: data.append(value))
    zk.ChildrenWatch(at, lambda names: children.append(sorted(names)))
    zk.set(at, b"1")
    zk.create(at + "/a")
    until(lambda: data[-1] == b"1" and children[-1] == ["a"], "both watches ran again")


@case
def digest_acl(zk, at):
    acl = make_digest_acl("user", "secret", all=True)
    owner = client(auth_data=[("digest", "user:secret")])
    owner.create(at, b"hidden", acl=[acl])
    refused(ex.NoAuthError, zk.get, at)
    refused(ex.NoAuthError, zk.set, at, b"x")
    refused(ex.NoAuthError, zk.create, at + "/c")
    refused(ex.NoAuthError, zk.get_acls, at)
    assert owner.get(at)[0] == b"hidden"
    late = client()
    refused(ex.NoAuthError, late.get, at)
    late.add_auth("digest", "user:secret")
    assert late.get(at)[0] == b"hidden"
    acls, stat = late.get_acls(at)
    assert acls == [acl] and stat.aversion == 0, acls
    assert late.set_acls(at, [make_digest_acl("user", "secret", read=True)]).aversion == 1
    refused(ex.NoAuthError, late.set, at, b"x")
    owner.create(at + "-own", acl=CREATOR_ALL_ACL)
    assert owner.get_acls(at + "-own")[0] == [acl]
    refused(ex.InvalidACLError, zk.create, at + "-none", b"", acl=CREATOR_ALL_ACL)
    for one in (owner, late):
        one.stop()
        one.close()


@case
def reattach_after_cut(zk, at):
    other = client(PROXY)
    states = []
    other.add_listener(lambda state: states.append(state))
    session = other.client_id
    other.create(at, b"", ephemeral=True)
    order(b"c")
    until(lambda: states[-2:] == [KazooState.SUSPENDED, KazooState.CONNECTED], "re-attached")
    assert other.client_id == session and zk.exists(at).ephemeralOwner == session[0]
    # Kazoo does not set its one-shot watches again: it tells their owners of the cut instead.
    other.stop()
    other.close()


@case
def expired_session(zk, at):
    other, states = client(PROXY, timeout=1.0), []
    other.create(at, b"", ephemeral=True)
    session = other.client_id[0]
    other.add_listener(lambda state: states.append(state))
    order(b"b")
    until(lambda: zk.exists(at) is None, "the ephemeral node went")
    order(b"o")
    until(lambda: KazooState.LOST in states and other.connected, "lost, then anew")
    assert other.client_id[0] != session
    other.stop()
    other.close()


@case
def session_by_id_and_password(zk, at):
    first = client(PROXY, timeout=5.0)
    first.create(at, ephemeral=True)
    session = first.client_id
    # It would come back and take its session over again.
    order(b"b")
    second = KazooClient(hosts=CONNECT, timeout=5.0, client_id=session)
    second.start(timeout=LIMIT)
    assert second.client_id[0] == session[0]
    assert second.exists(at).ephemeralOwner == session[0]
    second.stop()
    assert zk.exists(at) is None
    second.close()
    order(b"o")
    first.stop()
    first.close()


@case
def whole_trees(zk, at):
    zk.create(at)
    zk.ensure_path(at + "/a/b/c")
    zk.delete(at, recursive=True)
    assert zk.exists(at) is None


@case
def lock_recipe(zk, at):
    other, held = client(), []
    mine = zk.Lock(at, "mine")
    with mine:
        theirs = other.Lock(at, "theirs")
        assert theirs.acquire(blocking=False) is False
        waiting = threading.Thread(target=lambda: held.append(theirs.acquire(timeout=LIMIT)))
        waiting.start()
        until(lambda: len(mine.contenders()) == 2, "two contend")
    waiting.join()
    assert held == [True]
    theirs.release()
    other.stop()
    other.close()


@case
def read_write_lock_and_semaphore(zk, at):
    other = client()
    with zk.ReadLock(at + "/rw"):
        assert other.ReadLock(at + "/rw").acquire(timeout=LIMIT)
        assert other.WriteLock(at + "/rw").acquire(blocking=False) is False
    with zk.Semaphore(at + "/s", max_leases=1):
        assert other.Semaphore(at + "/s", max_leases=1).acquire(blocking=False) is False
    other.stop()
    other.close()


@case
def counter_election_barrier_queue(zk, at):
    counter = zk.Counter(at + "/counter")
    counter += 3
    counter -= 1
    assert counter.value == 2
    led = []
    zk.Election(at + "/election", "one").run(lambda: led.append(1))
    assert led == [1]
    queue = zk.Queue(at + "/queue")
    queue.put(b"a")
    queue.put(b"b")
    assert len(queue) == 2 and queue.get() == b"a" and queue.get() == b"b" and queue.get() is None
    locking = zk.LockingQueue(at + "/locking")
    locking.put_all([b"x", b"y"])
    assert locking.get(LIMIT) == b"x" and locking.consume() and locking.get(LIMIT) == b"y"
    barrier = zk.Barrier(at + "/barrier")
    barrier.create()
    threading.Timer(0.1, barrier.remove).start()
    assert barrier.wait(LIMIT)


@case
def tree_cache(zk, at):
    from kazoo.recipe.cache import TreeCache

    zk.create(at)
    cache = TreeCache(zk, at)
    cache.start()
    zk.create(at + "/a", b"1")
    until(lambda: cache.get_data(at + "/a") is not None, "the new child came")
    zk.set(at + "/a", b"2")
    until(lambda: cache.get_data(at + "/a").data == b"2", "its change came")
    zk.delete(at + "/a")
    until(lambda: cache.get_data(at + "/a") is None, "its end came")
    cache.close()


@case
def words_and_version(zk, at):
    assert zk.command(b"ruok") == "imok"
    assert zk.server_version()[:3] == (3, 9, 5), zk.server_version()


@case
def sync_and_chroot(zk, at):
    zk.create(at)
    assert zk.sync(at) == at
    rooted = client(CONNECT + at)
    assert rooted.create("/x") == "/x" and zk.exists(at + "/x")
    rooted.stop()
    rooted.close()


@case
def large_values(zk, at):
    zk.create(at, b"x" * 1_000_000)
    assert len(zk.get(at)[0]) == 1_000_000
    try:
        zk.set(at, b"x" * 1_100_000)
    except (ex.ConnectionLoss, ex.SessionExpiredError, OSError):
        pass
    else:
        raise AssertionError("a value above the limit was taken")


@case
def several_servers(zk, at):
    everywhere = client(ALL)
    everywhere.create(at)
    each = [client(host) for host in ALL.split(",")]
    for number, writer in enumerate(each):
        writer.set(at, b"by %d" % number)
        for reader in each:
            reader.sync(at)
            assert reader.get(at)[0] == b"by %d" % number
    for other in [everywhere] + each:
        other.stop()
        other.close()


def main():
    passed = failed = 0
    for run in CASES:
        zk = client()
        try:
            run(zk, "/kazoo-" + run.__name__.replace("_", "-"))
            passed += 1
            print("ok " + run.__name__)
        except BaseException as error:  # A case may fail in any way; the next still runs.
            failed += 1
            print("FAIL %s: %s %s" % (run.__name__, type(error).__name__, error))
            traceback.print_exc()
        finally:
            order(b"o")
            zk.stop()
            zk.close()
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


sys.exit(main())
