package org.apache.zookeeper.test;

import java.io.IOException;
import java.util.Collections;
import java.util.Set;
import javax.management.MBeanServerConnection;
import javax.management.ObjectName;

/**
 * In place of the class of this name that looks for the management beans of a server's sessions:
 * another process has none here.
 */
public final class JMXEnv {
    private JMXEnv() {}

    public static void setUp() throws IOException {}

    public static void tearDown() throws IOException {}

    public static MBeanServerConnection conn() throws IOException {
        return java.lang.management.ManagementFactory.getPlatformMBeanServer();
    }

    public static Set<ObjectName> ensureAll(String... names) throws IOException, InterruptedException {
        return Collections.emptySet();
    }

    public static Set<ObjectName> ensureOnly(String... names) throws IOException, InterruptedException {
        return Collections.emptySet();
    }

    public static void ensureNone(String... names) throws IOException, InterruptedException {}

    public static void dump() throws IOException {}

    public static Set<ObjectName> ensureParent(String... names) throws IOException, InterruptedException {
        return Collections.emptySet();
    }

    public static java.util.List<ObjectName> getServerBeans() throws IOException {
        return Collections.emptyList();
    }

    public static ObjectName getServerBean() throws Exception {
        throw new UnsupportedOperationException("management beans");
    }

    public static Object ensureBeanAttribute(String name, String attribute) throws Exception {
        throw new UnsupportedOperationException("management beans");
    }
}
