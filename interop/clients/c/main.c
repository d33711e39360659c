/* The C client against a server: CONNECT PROXY CONTROL ALL. Prints one line per case, then the counts. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

static int passed, failed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int state, events;
/* Whose state it is: the session opened last; one that lost its connection to it changes nothing. */
static intptr_t newest;
static int last_type;
static char last_path[256];

static void check(const char *name, int holds) {
  printf("%s %s\n", holds ? "ok" : "FAIL", name);
  *(holds ? &passed : &failed) += 1;
}

static void on_session(zhandle_t *zh, int type, int new_state, const char *path, void *context) {
  (void)zh; (void)path;
  if (type != ZOO_SESSION_EVENT) return;
  pthread_mutex_lock(&lock);
  if ((intptr_t)context == newest) state = new_state;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

static void on_event(zhandle_t *zh, int type, int new_state, const char *path, void *context) {
  (void)zh; (void)new_state; (void)context;
  if (type == ZOO_SESSION_EVENT) return;
  pthread_mutex_lock(&lock);
  events += 1;
  last_type = type;
  snprintf(last_path, sizeof last_path, "%s", path);
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

static int await(int *what, int value) {
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += 60;
  int rc = 0;
  pthread_mutex_lock(&lock);
  while (*what != value && rc == 0) rc = pthread_cond_timedwait(&changed, &lock, &end);
  pthread_mutex_unlock(&lock);
  return rc == 0;
}

static zhandle_t *open_session(const char *hosts, int timeout, const clientid_t *id) {
  pthread_mutex_lock(&lock);
  state = 0;
  void *context = (void *)++newest;
  pthread_mutex_unlock(&lock);
  return zookeeper_init(hosts, on_session, timeout, id, context, 0);
}

static void order(const char *control, char letter) {
  int port = atoi(strrchr(control, ':') + 1);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  int s = socket(AF_INET, SOCK_STREAM, 0);
  char byte;
  if (connect(s, (struct sockaddr *)&address, sizeof address) == 0 && write(s, &letter, 1) == 1)
    while (read(s, &byte, 1) > 0) {}
  close(s);
}

static void nodes(zhandle_t *zh) {
  char path[128], data[64];
  int length = sizeof data;
  struct Stat stat;
  check("create", zoo_create(zh, "/c", "one", 3, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path) == ZOK);
  check("create again", zoo_create(zh, "/c", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path) == ZNODEEXISTS);
  check("get", zoo_get(zh, "/c", 0, data, &length, &stat) == ZOK && length == 3 && !memcmp(data, "one", 3));
  check("set", zoo_set2(zh, "/c", "two!", 4, 0, &stat) == ZOK && stat.version == 1 && stat.dataLength == 4);
  check("set of another version", zoo_set(zh, "/c", "x", 1, 7) == ZBADVERSION);
  check("sequential", zoo_create(zh, "/c/s-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, path, sizeof path) == ZOK &&
                          !strcmp(path, "/c/s-0000000000"));
  check("create2", zoo_create2(zh, "/c/t", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, path, sizeof path, &stat) == ZOK &&
                       stat.ephemeralOwner == zoo_client_id(zh)->client_id);
  check("child of an ephemeral", zoo_create(zh, "/c/t/x", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path) == ZNOCHILDRENFOREPHEMERALS);
  check("container", zoo_create(zh, "/c/k", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_CONTAINER, path, sizeof path) == ZOK);
  check("ttl", zoo_create_ttl(zh, "/c/l", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_WITH_TTL, 3600000, path, sizeof path) == ZOK);
  struct String_vector children;
  check("children", zoo_get_children2(zh, "/c", 0, &children, &stat) == ZOK && children.count == 4 && stat.numChildren == 4);
  deallocate_String_vector(&children);
  check("delete with children", zoo_delete(zh, "/c", -1) == ZNOTEMPTY);
  check("delete", zoo_delete(zh, "/c/t", 0) == ZOK && zoo_exists(zh, "/c/t", 0, &stat) == ZNONODE);
}

static void transactions(zhandle_t *zh) {
  char path[64];
  struct Stat stat;
  zoo_op_t ops[3];
  zoo_op_result_t results[3];
  zoo_create_op_init(&ops[0], "/m", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path);
  zoo_set_op_init(&ops[1], "/m", "2", 1, 0, &stat);
  zoo_check_op_init(&ops[2], "/m", 1);
  check("multi", zoo_multi(zh, 3, ops, results) == ZOK && stat.version == 1 && !strcmp(path, "/m"));
  zoo_delete_op_init(&ops[0], "/m", -1);
  zoo_check_op_init(&ops[1], "/absent", 0);
  zoo_delete_op_init(&ops[2], "/c", -1);
  check("multi that fails", zoo_multi(zh, 3, ops, results) == ZNONODE && results[0].err == ZOK &&
                                results[1].err == ZNONODE && results[2].err == ZRUNTIMEINCONSISTENCY);
  check("nothing of it", zoo_exists(zh, "/m", 0, &stat) == ZOK);
}

static void watches(zhandle_t *zh) {
  char data[8];
  int length = sizeof data;
  struct Stat stat;
  struct String_vector children;
  events = 0;
  check("watch data", zoo_wget(zh, "/m", on_event, NULL, data, &length, &stat) == ZOK);
  zoo_set(zh, "/m", "3", 1, -1);
  check("data event", await(&events, 1) && last_type == ZOO_CHANGED_EVENT && !strcmp(last_path, "/m"));
  check("watch children", zoo_wget_children(zh, "/m", on_event, NULL, &children) == ZOK);
  deallocate_String_vector(&children);
  zoo_create(zh, "/m/x", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
  check("child event", await(&events, 2) && last_type == ZOO_CHILD_EVENT);
  check("watch an absent node", zoo_wexists(zh, "/w", on_event, NULL, &stat) == ZNONODE);
  zoo_create(zh, "/w", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
  check("created event", await(&events, 3) && last_type == ZOO_CREATED_EVENT && !strcmp(last_path, "/w"));
  check("watch to remove", zoo_wget(zh, "/w", on_event, NULL, data, &length, &stat) == ZOK);
  check("remove watch", zoo_remove_watches(zh, "/w", ZWATCHTYPE_DATA, on_event, NULL, 0) == ZOK);
}

static void lists(zhandle_t *zh) {
  struct ACL entry = {ZOO_PERM_ALL, {"auth", ""}};
  struct ACL_vector own = {1, &entry};
  struct ACL_vector read;
  struct Stat stat;
  char data[8];
  int length = sizeof data;
  check("auth", zoo_add_auth(zh, "digest", "user:secret", 11, NULL, NULL) == ZOK);
  check("create with own list", zoo_create(zh, "/acl", "", 0, &own, 0, NULL, 0) == ZOK);
  check("read list", zoo_get_acl(zh, "/acl", &read, &stat) == ZOK && read.count == 1 && !strcmp(read.data[0].id.scheme, "digest"));
  deallocate_ACL_vector(&read);
  check("who may read", zoo_get(zh, "/acl", 0, data, &length, &stat) == ZOK);
}

static void strangers(const char *hosts) {
  char data[8];
  int length = sizeof data;
  struct Stat stat;
  zhandle_t *zh = open_session(hosts, 10000, NULL);
  check("second session", await(&state, ZOO_CONNECTED_STATE));
  check("who may not read", zoo_get(zh, "/acl", 0, data, &length, &stat) == ZNOAUTH);
  check("close", zookeeper_close(zh) == ZOK);
}

static void reconnection(const char *hosts, const char *proxy, const char *control) {
  struct Stat stat;
  zhandle_t *zh = open_session(proxy, 10000, NULL);
  check("session through the relay", await(&state, ZOO_CONNECTED_STATE));
  check("ephemeral", zoo_create(zh, "/live", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0) == ZOK);
  clientid_t id = *zoo_client_id(zh);
  pthread_mutex_lock(&lock);
  state = 0;
  pthread_mutex_unlock(&lock);
  order(control, 'c');
  check("connected again", await(&state, ZOO_CONNECTED_STATE));
  check("the same session", zoo_client_id(zh)->client_id == id.client_id);
  check("ephemeral still there", zoo_exists(zh, "/live", 0, &stat) == ZOK);
  zhandle_t *thief = open_session(hosts, 10000, &id);
  check("session resumed elsewhere", await(&state, ZOO_CONNECTED_STATE) && zoo_client_id(thief)->client_id == id.client_id);
  clientid_t wrong = id;
  wrong.passwd[3] ^= 1;
  zhandle_t *liar = open_session(hosts, 10000, &wrong);
  check("wrong password", await(&state, ZOO_EXPIRED_SESSION_STATE));
  zookeeper_close(liar);
  zookeeper_close(zh);
  zookeeper_close(thief);
}

static void on_sync(int rc, const char *path, const void *done) {
  (void)path;
  pthread_mutex_lock(&lock);
  *(int *)(uintptr_t)done = rc == ZOK ? 1 : -1;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

/* What is written at one server is read at each, behind a sync. */
static void several(const char *all) {
  enum { MOST = 8 };
  zhandle_t *each[MOST];
  char hosts[512], value[16], data[16];
  int count = 0;
  struct Stat stat;
  zhandle_t *any = open_session(all, 10000, NULL);
  check("connect to any", await(&state, ZOO_CONNECTED_STATE));
  check("create anywhere", zoo_create(any, "/several", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZOK);
  snprintf(hosts, sizeof hosts, "%s", all);
  for (char *host = strtok(hosts, ","); host && count < MOST; host = strtok(NULL, ",")) {
    each[count++] = open_session(host, 10000, NULL);
    check("connect to one", await(&state, ZOO_CONNECTED_STATE));
  }
  for (int writer = 0; writer < count; writer++) {
    int size = snprintf(value, sizeof value, "by %d", writer);
    int seen = zoo_set(each[writer], "/several", value, size, -1) == ZOK;
    for (int reader = 0; reader < count; reader++) {
      int synced = 0, length = sizeof data;
      seen = seen && zoo_async(each[reader], "/several", on_sync, &synced) == ZOK && await(&synced, 1);
      seen = seen && zoo_get(each[reader], "/several", 0, data, &length, &stat) == ZOK;
      seen = seen && length == size && !memcmp(data, value, (size_t)size);
    }
    check("written at one server, read at each", seen);
  }
  for (int one = 0; one < count; one++) zookeeper_close(each[one]);
  zookeeper_close(any);
}

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
  zhandle_t *zh = open_session(argv[1], 10000, NULL);
  check("connect", await(&state, ZOO_CONNECTED_STATE));
  nodes(zh);
  transactions(zh);
  watches(zh);
  lists(zh);
  strangers(argv[1]);
  zookeeper_close(zh);
  reconnection(argv[1], argv[2], argv[3]);
  several(argv[4]);
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
