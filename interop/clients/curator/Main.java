import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;

/** Curator's recipes against a server: CONNECT PROXY CONTROL ALL. Prints one line per case, then the counts. */
public class Main {
    /** Seconds; machines that run this may be busy with something else. */
    static final long PATIENCE = 60;

    static int passed;
    static int failed;

    static void check(String name, boolean holds) {
        System.out.println((holds ? "ok " : "FAIL ") + name);
        if (holds) passed++; else failed++;
    }

    static CuratorFramework open(String hosts) throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.newClient(hosts, 10000, 10000, new ExponentialBackoffRetry(100, 5));
        client.start();
        check("connect", client.blockUntilConnected((int) PATIENCE, TimeUnit.SECONDS));
        return client;
    }

    static void nodes(CuratorFramework client) throws Exception {
        check("create with parents", client.create().creatingParentsIfNeeded().forPath("/cu/a/b", "x".getBytes()).equals("/cu/a/b"));
        check("parents are containers", client.checkExists().forPath("/cu/a") != null);
        String path = client.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/cu/p-");
        check("protected", path.startsWith("/cu/_c_"));
        client.create().withTtl(3600000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/cu/t");
        check("ttl", client.checkExists().forPath("/cu/t") != null);
        client.create().orSetData().forPath("/cu/a/b", "y".getBytes());
        check("or set", new String(client.getData().forPath("/cu/a/b")).equals("y"));
        CountDownLatch seen = new CountDownLatch(2);
        client.watchers().add().withMode(AddWatchMode.PERSISTENT_RECURSIVE).usingWatcher((org.apache.curator.framework.api.CuratorWatcher) event -> seen.countDown()).forPath("/cu/a");
        client.create().forPath("/cu/a/c");
        client.delete().forPath("/cu/a/c");
        check("persistent recursive watch", seen.await(PATIENCE, TimeUnit.SECONDS));
        client.delete().guaranteed().deletingChildrenIfNeeded().forPath("/cu/a");
        check("delete with children", client.checkExists().forPath("/cu/a") == null);
    }

    static void transactions(CuratorFramework client) throws Exception {
        List<CuratorTransactionResult> results = client.transaction().forOperations(
            client.transactionOp().create().forPath("/tx", "1".getBytes()),
            client.transactionOp().setData().withVersion(0).forPath("/tx", "2".getBytes()),
            client.transactionOp().check().withVersion(1).forPath("/tx"),
            client.transactionOp().delete().forPath("/tx"));
        check("transaction", results.size() == 4 && results.get(1).getResultStat().getVersion() == 1);
        try {
            client.transaction().forOperations(
                client.transactionOp().create().forPath("/tx"), client.transactionOp().delete().forPath("/absent"));
            check("transaction that fails", false);
        } catch (KeeperException.NoNodeException e) {
            check("transaction that fails", client.checkExists().forPath("/tx") == null);
        }
    }

    static void recipes(CuratorFramework one, CuratorFramework two) throws Exception {
        InterProcessMutex first = new InterProcessMutex(one, "/lock");
        InterProcessMutex second = new InterProcessMutex(two, "/lock");
        first.acquire();
        check("lock excludes", !second.acquire(300, TimeUnit.MILLISECONDS));
        first.release();
        check("lock passes on", second.acquire(PATIENCE, TimeUnit.SECONDS));
        second.release();
        InterProcessReadWriteLock shared = new InterProcessReadWriteLock(one, "/rw");
        InterProcessReadWriteLock other = new InterProcessReadWriteLock(two, "/rw");
        check("two readers", shared.readLock().acquire(PATIENCE, TimeUnit.SECONDS) && other.readLock().acquire(PATIENCE, TimeUnit.SECONDS));
        other.readLock().release();
        check("writer waits for reader", !other.writeLock().acquire(300, TimeUnit.MILLISECONDS));
        shared.readLock().release();
        LeaderLatch a = new LeaderLatch(one, "/leader", "a");
        LeaderLatch b = new LeaderLatch(two, "/leader", "b");
        a.start();
        check("leader", a.await(PATIENCE, TimeUnit.SECONDS));
        b.start();
        check("one leader", !b.await(300, TimeUnit.MILLISECONDS));
        a.close();
        check("next leader", b.await(PATIENCE, TimeUnit.SECONDS));
        b.close();
        DistributedAtomicLong counter = new DistributedAtomicLong(one, "/count", new ExponentialBackoffRetry(10, 5));
        DistributedAtomicLong again = new DistributedAtomicLong(two, "/count", new ExponentialBackoffRetry(10, 5));
        int added = 0;
        for (int i = 0; i < 10; i++) {
            if (counter.increment().succeeded()) added++;
            if (again.increment().succeeded()) added++;
        }
        check("counter", added > 0 && counter.get().postValue() == added);
        DistributedDoubleBarrier left = new DistributedDoubleBarrier(one, "/barrier", 2);
        DistributedDoubleBarrier right = new DistributedDoubleBarrier(two, "/barrier", 2);
        CountDownLatch met = new CountDownLatch(2);
        for (DistributedDoubleBarrier barrier : List.of(left, right)) {
            new Thread(() -> {
                try {
                    if (barrier.enter(PATIENCE, TimeUnit.SECONDS) && barrier.leave(PATIENCE, TimeUnit.SECONDS)) met.countDown();
                } catch (Exception e) {
                    e.printStackTrace();
                }
            }).start();
        }
        check("double barrier", met.await(PATIENCE, TimeUnit.SECONDS));
    }

    static void caches(CuratorFramework one, CuratorFramework two) throws Exception {
        one.create().creatingParentsIfNeeded().forPath("/cache/a", "1".getBytes());
        List<String> seen = new ArrayList<>();
        CountDownLatch ready = new CountDownLatch(1);
        CountDownLatch changed = new CountDownLatch(1);
        CuratorCache cache = CuratorCache.build(two, "/cache");
        cache.listenable().addListener(CuratorCacheListener.builder()
            .forInitialized(ready::countDown)
            .forChanges((old, now) -> { if (new String(now.getData()).equals("2")) changed.countDown(); }).build());
        cache.start();
        check("cache ready", ready.await(PATIENCE, TimeUnit.SECONDS));
        one.setData().forPath("/cache/a", "2".getBytes());
        check("cache follows", changed.await(PATIENCE, TimeUnit.SECONDS) && new String(cache.get("/cache/a").get().getData()).equals("2"));
        cache.close();
        PersistentTtlNode node = new PersistentTtlNode(one, "/ttl", 10000, new byte[0]);
        node.start();
        check("persistent ttl node", node.waitForInitialCreate(PATIENCE, TimeUnit.SECONDS));
        node.close();
    }

    /** What is written at one server is read at each, behind a sync. */
    static void several(String all) throws Exception {
        List<CuratorFramework> each = new ArrayList<>();
        for (String host : all.split(",")) each.add(open(host));
        try (CuratorFramework any = open(all)) {
            any.create().forPath("/several");
            for (CuratorFramework writer : each) {
                String value = "by " + each.indexOf(writer);
                writer.setData().forPath("/several", value.getBytes());
                boolean seen = true;
                for (CuratorFramework reader : each) {
                    reader.sync().forPath("/several");
                    seen &= new String(reader.getData().forPath("/several")).equals(value);
                }
                check("written at one server, read at each", seen);
            }
        }
        for (CuratorFramework client : each) client.close();
    }

    public static void main(String[] args) throws Exception {
        try (CuratorFramework one = open(args[0]); CuratorFramework two = open(args[1])) {
            nodes(one);
            transactions(one);
            recipes(one, two);
            caches(one, two);
            several(args[3]);
        } catch (Exception e) {
            e.printStackTrace();
            check("to the end", false);
        }
        System.out.println(passed + " passed, " + failed + " failed");
        System.exit(failed == 0 ? 0 : 1);
    }
}
