import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicInteger;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.curator.retry.RetryNTimes;
import org.apache.curator.utils.ZookeeperCompatibility;

/**
 * Curator's recipes beside those of others: CONNECT DIRECTORY. The variable LACKS names what the servers do not
 * know. Each line of the input names a scenario and its numbers; each gets one line back, {@code ok NAME} or
 * {@code FAIL NAME: WHY}. What must not happen at once is checked by files in the directory, which all participants
 * share.
 */
public class Recipes {
    static final String NAME = "java";
    static final int LIMIT = 40;
    static Path directory;
    static CuratorFramework client;

    static Path shared(String... parts) {
        return directory.resolve(String.join("-", parts));
    }

    static void note(String what, String line) throws Exception {
        Files.writeString(shared(what, "log"), line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    static long count(String prefix) throws Exception {
        try (var files = Files.list(directory)) {
            return files.filter(file -> file.getFileName().toString().startsWith(prefix)).count();
        }
    }

    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    interface Body {
        void run() throws Exception;
    }

    static void alone(String what, Body body) throws Exception {
        Path path = shared(what, "inside");
        Files.createFile(path);
        body.run();
        Files.delete(path);
    }

    interface Holds {
        boolean now() throws Exception;
    }

    static void until(Holds holds) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(LIMIT);
        while (!holds.now()) {
            check(System.nanoTime() < end, "never");
            Thread.sleep(10);
        }
    }

    static void lock(int rounds) throws Exception {
        InterProcessMutex lock = new InterProcessMutex(client, "/lock");
        for (int i = 0; i < rounds; i++) {
            check(lock.acquire(LIMIT, TimeUnit.SECONDS), "no lock");
            alone("lock", () -> {
                String first = lock.getParticipantNodes().iterator().next();
                note("lock", NAME + " " + client.checkExists().forPath(first).getCzxid());
            });
            lock.release();
        }
    }

    static void latch(int rounds) throws Exception {
        for (int i = 0; i < rounds; i++) {
            LeaderLatch latch = new LeaderLatch(client, "/latch", NAME);
            latch.start();
            check(latch.await(LIMIT, TimeUnit.SECONDS), "never led");
            alone("latch", () -> {
                check(latch.getLeader().getId().equals(NAME), "another leads");
                note("latch", NAME + " " + client.checkExists().forPath(latch.getOurPath()).getCzxid());
            });
            latch.close();
        }
    }

    static void select(int rounds) throws Exception {
        CountDownLatch left = new CountDownLatch(rounds);
        Throwable[] failed = new Throwable[1];
        LeaderSelector selector = new LeaderSelector(client, "/select", new LeaderSelectorListenerAdapter() {
            @Override
            public void takeLeadership(CuratorFramework client) {
                try {
                    alone("select", () -> note("select", NAME + " 0"));
                } catch (Throwable error) {
                    failed[0] = error;
                }
                left.countDown();
            }
        });
        selector.setId(NAME);
        selector.start();
        for (int i = 0; i < rounds; i++) {
            long before = left.getCount();
            until(() -> left.getCount() < before || failed[0] != null);
            if (i + 1 < rounds) until(selector::requeue);
        }
        check(left.await(LIMIT, TimeUnit.SECONDS), "never led");
        selector.close();
        if (failed[0] != null) throw new AssertionError(failed[0]);
    }

    static void rw(int rounds) throws Exception {
        InterProcessReadWriteLock lock = new InterProcessReadWriteLock(client, "/rw");
        for (int i = 0; i < rounds; i++) {
            check(lock.writeLock().acquire(LIMIT, TimeUnit.SECONDS), "no lock");
            alone("rw", () -> check(count("rw-reader-") == 0, "a reader beside a writer"));
            lock.writeLock().release();
            check(lock.readLock().acquire(LIMIT, TimeUnit.SECONDS), "no lock");
            Path path = shared("rw", "reader", NAME);
            Files.createFile(path);
            check(!Files.exists(shared("rw", "inside")), "a writer beside a reader");
            Files.delete(path);
            lock.readLock().release();
        }
    }

    static void sem(int rounds) throws Exception {
        InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(client, "/sem", 2);
        for (int i = 0; i < rounds; i++) {
            Lease lease = semaphore.acquire(LIMIT, TimeUnit.SECONDS);
            check(lease != null, "no lease");
            Path path = shared("sem", "slot", NAME);
            Files.createFile(path);
            check(count("sem-slot-") <= 2, "too many leases");
            Files.delete(path);
            lease.close();
        }
    }

    static void count(int rounds) throws Exception {
        DistributedAtomicLong counter = new DistributedAtomicLong(client, "/count", new RetryNTimes(1000, 1));
        for (int i = 0; i < rounds; i++) {
            AtomicValue<Long> value = counter.increment();
            check(value.succeeded(), "not incremented");
        }
    }

    static void icount(int rounds) throws Exception {
        DistributedAtomicInteger counter = new DistributedAtomicInteger(client, "/icount", new RetryNTimes(1000, 1));
        for (int i = 0; i < rounds; i++) check(counter.increment().succeeded(), "not incremented");
    }

    static void barrier(int ignored) throws Exception {
        until(() -> Files.exists(shared("gate", "closed")));
        Files.createFile(shared("gate", "waits", NAME));
        check(new DistributedBarrier(client, "/gate").waitOnBarrier(LIMIT, TimeUnit.SECONDS), "never open");
        check(Files.exists(shared("gate", "open")), "open too early");
    }

    static void meet(int members) throws Exception {
        DistributedDoubleBarrier barrier = new DistributedDoubleBarrier(client, "/together", members);
        Files.createFile(shared("double", "came", NAME));
        check(barrier.enter(LIMIT, TimeUnit.SECONDS), "never in");
        check(count("double-came-") == members, "in before all came");
        Files.createFile(shared("double", "in", NAME));
        until(() -> count("double-in-") == members);
        Files.createFile(shared("double", "goes", NAME));
        check(barrier.leave(LIMIT, TimeUnit.SECONDS), "never out");
        check(count("double-goes-") == members, "out before all went");
    }

    static void squeue(int items) throws Exception {
        SimpleDistributedQueue queue = new SimpleDistributedQueue(client, "/squeue");
        for (int i = 0; i < items; i++) queue.offer((NAME + "-" + i).getBytes());
        until(() -> {
            byte[] data = queue.poll(100, TimeUnit.MILLISECONDS);
            if (data != null) note("squeue", new String(data));
            return Files.exists(shared("squeue", "log")) && Files.readAllLines(shared("squeue", "log")).size() >= 2 * items;
        });
    }

    static final QueueSerializer<String> TEXT = new QueueSerializer<>() {
        @Override
        public byte[] serialize(String item) {
            return item.getBytes();
        }

        @Override
        public String deserialize(byte[] bytes) {
            return new String(bytes);
        }
    };

    static void queue(int items) throws Exception {
        QueueConsumer<String> consumer = new QueueConsumer<>() {
            @Override
            public void consumeMessage(String message) throws Exception {
                note("queue", message);
            }

            @Override
            public void stateChanged(CuratorFramework client, ConnectionState state) {}
        };
        DistributedQueue<String> queue =
                QueueBuilder.builder(client, consumer, TEXT, "/queue").lockPath("/queue-locks").buildQueue();
        queue.start();
        for (int i = 0; i < items; i++) queue.put(NAME + "-" + i);
        until(() -> Files.exists(shared("queue", "log")) && Files.readAllLines(shared("queue", "log")).size() >= 2 * items);
        queue.close();
    }

    static void group(int members) throws Exception {
        GroupMember member = new GroupMember(client, "/group", NAME, NAME.getBytes());
        member.start();
        until(() -> member.getCurrentMembers().size() == members);
        until(() -> Files.exists(shared("group", "seen")));
        member.close();
    }

    static void run(String name, int number) throws Exception {
        switch (name) {
            case "lock" -> lock(number);
            case "latch" -> latch(number);
            case "select" -> select(number);
            case "rw" -> rw(number);
            case "sem" -> sem(number);
            case "count" -> count(number);
            case "icount" -> icount(number);
            case "barrier" -> barrier(number);
            case "double" -> meet(number);
            case "squeue" -> squeue(number);
            case "queue" -> queue(number);
            case "group" -> group(number);
            default -> throw new AssertionError("no such scenario");
        }
    }

    public static void main(String[] args) throws Exception {
        directory = Path.of(args[1]);
        // Curator asks its library, not the server, whether there are persistent watches.
        boolean lacksStreams =
                List.of(System.getenv().getOrDefault("LACKS", "").split(",")).contains("streams");
        client = CuratorFrameworkFactory.builder()
                .connectString(args[0])
                .sessionTimeoutMs(10000)
                .connectionTimeoutMs(10000)
                .retryPolicy(new ExponentialBackoffRetry(100, 5))
                .zookeeperCompatibility(ZookeeperCompatibility.builder()
                        .hasPersistentWatchers(!lacksStreams)
                        .build())
                .build();
        client.start();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            List<String> words = List.of(line.split(" "));
            try {
                run(words.get(0), Integer.parseInt(words.get(1)));
                System.out.println("ok " + words.get(0));
            } catch (Throwable error) {
                error.printStackTrace();
                System.out.println("FAIL " + words.get(0) + ": " + error);
            }
        }
        client.close();
    }
}
