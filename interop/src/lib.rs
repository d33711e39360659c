//! Tests against real, foreign peers: clients and servers of Apache ZooKeeper.
