import java.io.File;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.server.ServerCnxn;
import org.apache.zookeeper.server.ServerCnxnFactory;
import org.apache.zookeeper.server.ZooKeeperServer;

/**
 * Lets unmodified tests that start a ZooKeeper server in their own process use another process
 * instead: named by the property zookeeper.serverCnxnFactory, it starts that process on the port
 * and with the properties that were meant for the server inside. The server inside runs too, but
 * nobody connects to it: tests that look into it see it idle.
 *
 * <p>The property interop.serve names the program that is given a zoo.cfg and -D properties.
 */
public final class ExternalServer extends ServerCnxnFactory {
    private static final int PATIENCE_SECONDS = 300;

    private final CountDownLatch ended = new CountDownLatch(1);
    private InetSocketAddress address;
    private int maxConnectionsPerHost = 60;
    private int backlog = -1;
    private Process process;

    @Override
    public void configure(InetSocketAddress address, int perHost, int backlog, boolean secure)
            throws IOException {
        if (secure) {
            throw new UnsupportedOperationException("TLS");
        }
        int port = address.getPort();
        if (port == 0) {
            try (java.net.ServerSocket free = new java.net.ServerSocket(0)) {
                port = free.getLocalPort();
            }
        }
        this.address = new InetSocketAddress(address.getAddress(), port);
        this.maxConnectionsPerHost = perHost;
        this.backlog = backlog;
    }

    @Override
    public void startup(ZooKeeperServer inside, boolean startServer)
            throws IOException, InterruptedException {
        setZooKeeperServer(inside);
        if (startServer) {
            inside.startdata();
            inside.startup();
        }
        File home = inside.getTxnLogFactory().getSnapDir().getParentFile();
        launch(inside, new File(home, "external"));
    }

    private void launch(ZooKeeperServer inside, File data) throws IOException, InterruptedException {
        Files.createDirectories(data.toPath());
        File config = new File(data, "zoo.cfg");
        List<String> lines = new ArrayList<>();
        lines.add("dataDir=" + data);
        lines.add("clientPort=" + address.getPort());
        lines.add("tickTime=" + inside.getTickTime());
        lines.add("minSessionTimeout=" + inside.getMinSessionTimeout());
        lines.add("maxSessionTimeout=" + inside.getMaxSessionTimeout());
        lines.add("maxClientCnxns=" + Math.max(maxConnectionsPerHost, 0));
        Files.write(config.toPath(), lines);
        List<String> command = new ArrayList<>();
        command.add(System.getProperty("interop.serve"));
        command.add(config.toString());
        for (Map.Entry<Object, Object> entry : System.getProperties().entrySet()) {
            String key = entry.getKey().toString();
            boolean meant = key.startsWith("zookeeper.") || key.startsWith("jute.")
                    || key.startsWith("znode.");
            if (meant && !key.equals(ZOOKEEPER_SERVER_CNXN_FACTORY)) {
                command.add("-D" + key + "=" + entry.getValue());
            }
        }
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.redirectOutput(
                ProcessBuilder.Redirect.appendTo(new File(System.getProperty("interop.log"))));
        process = builder.start();
        Runtime.getRuntime().addShutdownHook(new Thread(process::destroyForcibly));
        awaitService();
    }

    private void awaitService() throws IOException, InterruptedException {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
        while (true) {
            try (Socket socket = new Socket()) {
                socket.connect(new InetSocketAddress("127.0.0.1", address.getPort()), 1000);
                return;
            } catch (IOException refused) {
                if (process.waitFor(20, TimeUnit.MILLISECONDS) || System.nanoTime() > deadline) {
                    throw new IOException("the server does not serve", refused);
                }
            }
        }
    }

    @Override
    public void shutdown() {
        try {
            if (process != null) {
                process.destroy();
                process.waitFor();
            }
        } catch (InterruptedException interrupted) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
        }
        if (zkServer != null) {
            zkServer.shutdown();
        }
        ended.countDown();
    }

    @Override
    public void join() throws InterruptedException {
        ended.await();
    }

    @Override
    public void start() {}

    @Override
    public void reconfigure(InetSocketAddress address) {
        throw new UnsupportedOperationException("another address for a running server");
    }

    @Override
    public void closeAll(ServerCnxn.DisconnectReason reason) {}

    @Override
    public void resetAllConnectionStats() {}

    @Override
    public int getLocalPort() {
        return address.getPort();
    }

    @Override
    public InetSocketAddress getLocalAddress() {
        return address;
    }

    @Override
    public Iterable<ServerCnxn> getConnections() {
        return Collections.emptyList();
    }

    @Override
    public Iterable<Map<String, Object>> getAllConnectionInfo(boolean brief) {
        return Collections.emptyList();
    }

    @Override
    public int getMaxClientCnxnsPerHost() {
        return maxConnectionsPerHost;
    }

    @Override
    public void setMaxClientCnxnsPerHost(int max) {
        maxConnectionsPerHost = max;
    }

    @Override
    public int getSocketListenBacklog() {
        return backlog;
    }
}
