/* Stands before the C library (LD_PRELOAD) and is a disk that fails, from the moment on at which
 * the file $FAULT_FROM exists: "sync" fails every sync (EIO), "space" is a full disk (ENOSPC), of
 * which the first write still gets one half of its bytes (or blocks), with "stall" syncs take until
 * the file is gone, and with "stall writes" writes do, of which the first makes $FAULT_MET. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int broken(const char *kind) {
    const char *fault = getenv("FAULT");
    const char *from = getenv("FAULT_FROM");
    return fault && from && strcmp(fault, kind) == 0 && access(from, F_OK) == 0;
}

static ssize_t write_at(const char *name, int fd, const void *bytes, size_t n, off64_t offset) {
    static int halved;
    ssize_t (*next)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, name);
    const char *met = getenv("FAULT_MET");
    while (broken("stall writes")) {
        if (met)
            close(open(met, O_CREAT | O_WRONLY, 0644));
        usleep(1000);
    }
    if (!broken("space"))
        return next(fd, bytes, n, offset);
    size_t block = fcntl(fd, F_GETFL) & O_DIRECT ? 4096 : 1;
    size_t half = n / 2 / block * block;
    if (halved || half == 0) {
        errno = ENOSPC;
        return -1;
    }
    halved = 1;
    return next(fd, bytes, half, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t offset) {
    return write_at("pwrite64", fd, bytes, n, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset) {
    return write_at("pwrite", fd, bytes, n, offset);
}

static int grow(const char *name, int fd, off64_t length) {
    int (*next)(int, off64_t) = dlsym(RTLD_NEXT, name);
    if (broken("space")) {
        errno = ENOSPC;
        return -1;
    }
    return next(fd, length);
}

int ftruncate64(int fd, off64_t length) { return grow("ftruncate64", fd, length); }

int ftruncate(int fd, off_t length) { return grow("ftruncate", fd, length); }

static int sync_file(const char *name, int fd) {
    int (*next)(int) = dlsym(RTLD_NEXT, name);
    if (broken("sync")) {
        errno = EIO;
        return -1;
    }
    while (broken("stall"))
        usleep(1000);
    return next(fd);
}

int fdatasync(int fd) { return sync_file("fdatasync", fd); }

int fsync(int fd) { return sync_file("fsync", fd); }
