"""Kazoo's recipes beside those of others: CONNECT DIRECTORY. Each line of the input names a scenario
and its numbers; each gets one line back, `ok NAME` or `FAIL NAME: WHY`. What must not happen at once
is checked by files in the directory, which all participants share."""

import contextlib
import logging
import os
import sys
import time
import traceback

from kazoo.client import KazooClient
from kazoo.recipe.barrier import Barrier, DoubleBarrier
from kazoo.recipe.counter import Counter
from kazoo.recipe.lock import Lock, Semaphore
from kazoo.recipe.queue import LockingQueue, Queue

CONNECT, DIRECTORY = sys.argv[1:3]
NAME = "python"
LIMIT = 40
logging.basicConfig(level=logging.CRITICAL)
SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


class CuratorLock(Lock):
    """Kazoo's lock under Curator's names."""

    _NODE_NAME = "-lock-"
    _EXCLUDE_NAMES = ["-lock-"]


class CuratorLatch(Lock):
    _NODE_NAME = "-latch-"
    _EXCLUDE_NAMES = ["-latch-"]


class CuratorReadLock(Lock):
    _NODE_NAME = "-__READ__"
    _EXCLUDE_NAMES = ["__WRIT__"]


class CuratorWriteLock(Lock):
    _NODE_NAME = "-__WRIT__"
    _EXCLUDE_NAMES = ["__WRIT__", "__READ__"]


def shared(*parts):
    return os.path.join(DIRECTORY, "-".join(parts))


def note(what, line):
    with open(shared(what, "log"), "a") as log:
        log.write(line + "\n")


@contextlib.contextmanager
def alone(what):
    """Nobody else is here."""
    path = shared(what, "inside")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    yield
    os.remove(path)


@contextlib.contextmanager
def together(what, most):
    """At most so many are here."""
    path = shared(what, "slot", NAME)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    slots = [name for name in os.listdir(DIRECTORY) if name.startswith(what + "-slot-")]
    assert len(slots) <= most, slots
    yield
    os.remove(path)


def until(holds):
    end = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < end, "never"
        time.sleep(0.01)


def take_turns(zk, lock, what, rounds):
    for _ in range(rounds):
        assert lock.acquire(timeout=LIMIT)
        with alone(what):
            token = zk.exists(lock.path + "/" + lock.node).czxid
            note(what, "%s %d" % (NAME, token))
        lock.release()


@scenario
def lock(zk, rounds):
    take_turns(zk, CuratorLock(zk, "/lock", NAME), "lock", rounds)


@scenario
def klock(zk, rounds):
    take_turns(zk, zk.Lock("/klock", NAME), "klock", rounds)


@scenario
def latch(zk, rounds):
    take_turns(zk, CuratorLatch(zk, "/latch", NAME), "latch", rounds)


def readers_and_writers(read, write, what, rounds):
    for _ in range(rounds):
        with write():
            with alone(what):
                readers = [n for n in os.listdir(DIRECTORY) if n.startswith(what + "-reader-")]
                assert not readers, readers
        with read():
            path = shared(what, "reader", NAME)
            open(path, "w").close()
            assert not os.path.exists(shared(what, "inside"))
            os.remove(path)


@scenario
def rw(zk, rounds):
    readers_and_writers(
        lambda: CuratorReadLock(zk, "/rw", NAME), lambda: CuratorWriteLock(zk, "/rw", NAME), "rw", rounds)


@scenario
def krw(zk, rounds):
    readers_and_writers(
        lambda: zk.ReadLock("/krw", NAME), lambda: zk.WriteLock("/krw", NAME), "krw", rounds)


@scenario
def ksem(zk, rounds):
    for _ in range(rounds):
        semaphore = Semaphore(zk, "/ksem", NAME, max_leases=2)
        assert semaphore.acquire(timeout=LIMIT)
        with together("ksem", 2):
            pass
        semaphore.release()


@scenario
def kcount(zk, rounds):
    counter = Counter(zk, "/kcount")
    for _ in range(rounds):
        counter += 1


@scenario
def icount(zk, rounds):
    counter = Counter(zk, "/icount", support_curator=True)
    for _ in range(rounds):
        counter += 1


@scenario
def barrier(zk, _):
    gate = Barrier(zk, "/gate")
    until(lambda: os.path.exists(shared("gate", "closed")))
    open(shared("gate", "waits", NAME), "w").close()
    assert gate.wait(LIMIT)
    assert os.path.exists(shared("gate", "open"))


@scenario
def double(zk, members):
    meeting = DoubleBarrier(zk, "/together", members, NAME)
    open(shared("double", "came", NAME), "w").close()
    meeting.enter()
    came = [n for n in os.listdir(DIRECTORY) if n.startswith("double-came-")]
    assert len(came) == members, came
    open(shared("double", "in", NAME), "w").close()
    until(lambda: len([n for n in os.listdir(DIRECTORY) if n.startswith("double-in-")]) == members)
    open(shared("double", "goes", NAME), "w").close()
    meeting.leave()
    goes = [n for n in os.listdir(DIRECTORY) if n.startswith("double-goes-")]
    assert len(goes) == members, goes


@scenario
def kqueue(zk, items):
    queue = Queue(zk, "/kqueue")
    for item in range(items):
        queue.put(("%s-%d" % (NAME, item)).encode())
    until(lambda: not drain(queue, "kqueue", items))


def drain(queue, what, items):
    """Takes what is there; whether something is still to come."""
    data = queue.get()
    if data is not None:
        note(what, data.decode())
    with open(shared(what, "log"), "a+") as log:
        log.seek(0)
        return len(log.readlines()) < 2 * items


@scenario
def klqueue(zk, items):
    queue = LockingQueue(zk, "/klqueue")
    queue.put_all([("%s-%d" % (NAME, item)).encode() for item in range(items)])
    path = shared("klqueue", "log")
    end = time.monotonic() + LIMIT
    while True:
        assert time.monotonic() < end, "never"
        data = queue.get(timeout=0.3)
        if data is not None:
            note("klqueue", data.decode())
            assert queue.consume()
        elif os.path.exists(path) and len(open(path).readlines()) >= 2 * items:
            return


def main():
    zk = KazooClient(hosts=CONNECT, timeout=10.0)
    zk.start(timeout=LIMIT)
    for line in sys.stdin:
        name, number = line.split()
        try:
            SCENARIOS[name](zk, int(number))
            print("ok " + name, flush=True)
        except BaseException as error:
            traceback.print_exc()
            print("FAIL %s: %r" % (name, error), flush=True)
    zk.stop()


main()
