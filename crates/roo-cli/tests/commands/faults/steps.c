/* Stands before the C library (LD_PRELOAD) and counts what a process does to files, and what it
 * sends. After $STEPS of them, with STEPS_END=kill the process is killed before the next, with
 * STEPS_END=full the disk is full: nothing can be written or made, but names can be changed and
 * deleted. With STEPS_END=cut what is sent counts instead, and the process is killed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define NEXT(name) dlsym(RTLD_NEXT, name)

enum { FREES, GROWS, SENDS };

/* Whether the step must fail. */
static int refused(int kind) {
    static long done;
    const char *steps = getenv("STEPS"), *end = getenv("STEPS_END");
    if (!steps || !end || (kind == SENDS) != (strcmp(end, "cut") == 0))
        return 0;
    if (__sync_add_and_fetch(&done, 1) <= atol(steps))
        return 0;
    if (strcmp(end, "full") != 0)
        raise(SIGKILL);
    errno = ENOSPC;
    return kind == GROWS;
}

static int is_file(int fd) {
    struct stat facts;
    return fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode);
}

ssize_t write(int fd, const void *bytes, size_t n) {
    ssize_t (*next)(int, const void *, size_t) = NEXT("write");
    return is_file(fd) && refused(GROWS) ? -1 : next(fd, bytes, n);
}

ssize_t send(int fd, const void *bytes, size_t n, int flags) {
    ssize_t (*next)(int, const void *, size_t, int) = NEXT("send");
    return refused(SENDS) ? -1 : next(fd, bytes, n, flags);
}

ssize_t writev(int fd, const struct iovec *parts, int n) {
    ssize_t (*next)(int, const struct iovec *, int) = NEXT("writev");
    return refused(is_file(fd) ? GROWS : SENDS) ? -1 : next(fd, parts, n);
}

static int open_as(const char *name, const char *path, int flags, mode_t mode) {
    int (*next)(const char *, int, mode_t) = NEXT(name);
    return (flags & O_CREAT) && refused(GROWS) ? -1 : next(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return open_as("open64", path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return open_as("open", path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
    int (*next)(const char *, mode_t) = NEXT("mkdir");
    return refused(GROWS) ? -1 : next(path, mode);
}

int symlink(const char *to, const char *path) {
    int (*next)(const char *, const char *) = NEXT("symlink");
    return refused(GROWS) ? -1 : next(to, path);
}

int rename(const char *from, const char *to) {
    int (*next)(const char *, const char *) = NEXT("rename");
    return refused(FREES) ? -1 : next(from, to);
}

int unlink(const char *path) {
    int (*next)(const char *) = NEXT("unlink");
    return refused(FREES) ? -1 : next(path);
}

int unlinkat(int dir, const char *path, int flags) {
    int (*next)(int, const char *, int) = NEXT("unlinkat");
    return refused(FREES) ? -1 : next(dir, path, flags);
}

int fsync(int fd) {
    int (*next)(int) = NEXT("fsync");
    return refused(FREES) ? -1 : next(fd);
}
