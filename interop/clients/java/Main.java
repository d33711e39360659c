import java.io.InputStream;
import java.net.Socket;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/** The Java client against a server: CONNECT PROXY CONTROL ALL. Prints one line per case, then the counts. */
public class Main {
    /** Seconds; machines that run this may be busy with something else. */
    static final long PATIENCE = 60;

    static int passed;
    static int failed;

    static void check(String name, boolean holds) {
        System.out.println((holds ? "ok " : "FAIL ") + name);
        if (holds) passed++; else failed++;
    }

    interface Call { void run() throws Exception; }

    static void refused(String name, KeeperException.Code code, Call call) throws Exception {
        try {
            call.run();
            check(name, false);
        } catch (KeeperException e) {
            check(name + " (" + e.code() + ")", e.code() == code);
        }
    }

    static class Events implements Watcher {
        final BlockingQueue<WatchedEvent> queue = new LinkedBlockingQueue<>();
        @Override public void process(WatchedEvent event) {
            if (event.getType() != EventType.None) queue.add(event);
        }
        boolean next(EventType type, String path) throws Exception {
            WatchedEvent event = queue.poll(PATIENCE, TimeUnit.SECONDS);
            return event != null && event.getType() == type && event.getPath().equals(path);
        }
    }

    static class Session implements Watcher {
        final BlockingQueue<KeeperState> states = new LinkedBlockingQueue<>();
        @Override public void process(WatchedEvent event) {
            if (event.getType() == EventType.None) states.add(event.getState());
        }
        boolean await(KeeperState state) throws Exception {
            for (;;) {
                KeeperState next = states.poll(PATIENCE, TimeUnit.SECONDS);
                if (next == null) return false;
                if (next == state) return true;
            }
        }
    }

    static ZooKeeper open(String hosts, Session session) throws Exception {
        ZooKeeper zk = new ZooKeeper(hosts, 10000, session);
        check("connect", session.await(KeeperState.SyncConnected));
        return zk;
    }

    static void order(String control, char letter) throws Exception {
        String[] parts = control.split(":");
        try (Socket socket = new Socket(parts[0], Integer.parseInt(parts[1]))) {
            socket.getOutputStream().write(letter);
            InputStream in = socket.getInputStream();
            while (in.read() >= 0) { }
        }
    }

    static void nodes(ZooKeeper zk) throws Exception {
        check("create", zk.create("/j", "one".getBytes(), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT).equals("/j"));
        refused("create again", KeeperException.Code.NODEEXISTS, () -> zk.create("/j", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
        Stat stat = new Stat();
        check("get", new String(zk.getData("/j", false, stat)).equals("one") && stat.getVersion() == 0);
        check("set", zk.setData("/j", "two".getBytes(), 0).getVersion() == 1);
        refused("set of another version", KeeperException.Code.BADVERSION, () -> zk.setData("/j", null, 9));
        check("sequential", zk.create("/j/s-", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_SEQUENTIAL).equals("/j/s-0000000000"));
        zk.create("/j/e", null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL, stat);
        check("ephemeral", stat.getEphemeralOwner() == zk.getSessionId());
        refused("child of an ephemeral", KeeperException.Code.NOCHILDRENFOREPHEMERALS, () -> zk.create("/j/e/x", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
        zk.create("/j/k", null, Ids.OPEN_ACL_UNSAFE, CreateMode.CONTAINER);
        zk.create("/j/k/c", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        zk.create("/j/t", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, stat, 3600000);
        check("ttl and container", zk.getChildren("/j", false).size() == 4 && zk.getAllChildrenNumber("/j") == 5);
        check("ephemerals", zk.getEphemerals().equals(List.of("/j/e")));
        zk.delete("/j/k/c", -1);
        check("who am i", !zk.whoAmI().isEmpty());
        CountDownLatch synced = new CountDownLatch(1);
        zk.sync("/j", (rc, path, ctx) -> synced.countDown(), null);
        check("sync", synced.await(PATIENCE, TimeUnit.SECONDS));
        boolean gone = false;
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE);
        while (!gone && System.nanoTime() < end) {
            gone = zk.exists("/j/k", false) == null;
            if (!gone) Thread.sleep(50);
        }
        check("empty container collected", gone);
    }

    static void transactions(ZooKeeper zk) throws Exception {
        List<OpResult> results = zk.multi(List.of(
            Op.create("/m", new byte[0], Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
            Op.setData("/m", "1".getBytes(), 0), Op.check("/m", 1), Op.delete("/m", 1)));
        check("multi", results.size() == 4);
        refused("multi that fails", KeeperException.Code.NONODE, () -> zk.multi(List.of(
            Op.create("/m", new byte[0], Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT), Op.delete("/absent", -1))));
        check("nothing of it", zk.exists("/m", false) == null);
        results = zk.multi(List.of(Op.getData("/j"), Op.getChildren("/absent")));
        check("multi read", results.get(0) instanceof OpResult.GetDataResult && results.get(1) instanceof OpResult.ErrorResult);
    }

    static void watches(ZooKeeper zk) throws Exception {
        Events once = new Events();
        zk.getData("/j", once, null);
        zk.setData("/j", null, -1);
        zk.setData("/j", null, -1);
        check("data event", once.next(EventType.NodeDataChanged, "/j") && once.queue.isEmpty());
        Events born = new Events();
        check("absent", zk.exists("/w", born) == null);
        zk.create("/w", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        check("created event", born.next(EventType.NodeCreated, "/w"));
        Events all = new Events();
        zk.addWatch("/w", all, AddWatchMode.PERSISTENT_RECURSIVE);
        Events here = new Events();
        zk.addWatch("/w", here, AddWatchMode.PERSISTENT);
        for (int i = 0; i < 2; i++) {
            zk.create("/w/c", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            zk.delete("/w/c", -1);
            check("recursive", all.next(EventType.NodeCreated, "/w/c") && all.next(EventType.NodeDeleted, "/w/c"));
            check("persistent", here.next(EventType.NodeChildrenChanged, "/w") && here.next(EventType.NodeChildrenChanged, "/w"));
        }
        zk.removeWatches("/w", all, Watcher.WatcherType.PersistentRecursive, false);
        refused("remove what is not there", KeeperException.Code.NOWATCHER, () -> zk.removeWatches("/nope", all, Watcher.WatcherType.Any, false));
    }

    static void lists(ZooKeeper zk, String connect) throws Exception {
        zk.addAuthInfo("digest", "user:secret".getBytes());
        zk.create("/acl", null, Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
        check("read list", zk.getACL("/acl", null).get(0).getId().getScheme().equals("digest"));
        ZooKeeper other = open(connect, new Session());
        refused("who may not read", KeeperException.Code.NOAUTH, () -> other.getData("/acl", false, null));
        other.close();
    }

    static void reconnection(ZooKeeper zk, String connect, String proxy, String control) throws Exception {
        Session session = new Session();
        ZooKeeper relayed = open(proxy, session);
        relayed.create("/live", null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        Events kept = new Events();
        relayed.getData("/w", kept, null);
        long id = relayed.getSessionId();
        order(control, 'c');
        check("disconnected", session.await(KeeperState.Disconnected));
        zk.setData("/w", null, -1);
        check("connected again", session.await(KeeperState.SyncConnected));
        check("the same session", relayed.getSessionId() == id && zk.exists("/live", false) != null);
        check("change told after the cut", kept.next(EventType.NodeDataChanged, "/w"));
        // It would come back and take its session over again.
        order(control, 'b');
        Session resumed = new Session();
        ZooKeeper twin = new ZooKeeper(connect, 10000, resumed, id, relayed.getSessionPasswd());
        check("session resumed elsewhere", resumed.await(KeeperState.SyncConnected) && twin.getSessionId() == id);
        twin.close();
        order(control, 'o');
        check("expired", session.await(KeeperState.Expired));
        check("ephemeral gone", zk.exists("/live", false) == null);
        relayed.close();
    }

    /** What is written at one server is read at each, behind a sync. */
    static void several(String all) throws Exception {
        ZooKeeper any = open(all, new Session());
        any.create("/several", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        List<ZooKeeper> each = new ArrayList<>();
        for (String host : all.split(",")) each.add(open(host, new Session()));
        for (ZooKeeper writer : each) {
            String value = "of " + writer.getSessionId();
            writer.setData("/several", value.getBytes(), -1);
            boolean seen = true;
            for (ZooKeeper reader : each) {
                CountDownLatch synced = new CountDownLatch(1);
                reader.sync("/several", (rc, path, ctx) -> synced.countDown(), null);
                seen &= synced.await(PATIENCE, TimeUnit.SECONDS);
                seen &= new String(reader.getData("/several", false, null)).equals(value);
            }
            check("written at one server, read at each", seen);
        }
        for (ZooKeeper zk : each) zk.close();
        any.close();
    }

    public static void main(String[] args) throws Exception {
        try {
            ZooKeeper zk = open(args[0], new Session());
            nodes(zk);
            transactions(zk);
            watches(zk);
            lists(zk, args[0]);
            reconnection(zk, args[0], args[1], args[2]);
            zk.close();
            several(args[3]);
        } catch (Exception e) {
            e.printStackTrace();
            check("to the end", false);
        }
        System.out.println(passed + " passed, " + failed + " failed");
        System.exit(failed == 0 ? 0 : 1);
    }
}
