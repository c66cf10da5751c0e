/* Calls of the C library that fail for a store's files, as long as the file named by DISK_FAULT says which. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int fault(char *kind, size_t size) {
    const char *name = getenv("DISK_FAULT");
    int fd = name ? open(name, O_RDONLY) : -1;
    if (fd < 0) return 0;
    ssize_t (*plain_read)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
    ssize_t count = plain_read(fd, kind, size - 1);
    close(fd);
    if (count < 0) count = 0;
    kind[count] = 0;
    return 1;
}

/* Whether the descriptor is a store's main file or log: the index is shared memory and never synchronised. */
static int concerns(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, path, sizeof path - 1);
    if (count < 0) return 0;
    path[count] = 0;
    return strstr(path, ".db") != NULL;
}

static int fails(int fd, const char *first, const char *second) {
    char kind[32];
    int saved = errno, found = fault(kind, sizeof kind) && concerns(fd);
    errno = saved;
    return found && (!strcmp(kind, first) || !strcmp(kind, second));
}

/* What a failed sync leaves of pages that were not on the disk yet: nothing. */
static void forget_last_page(int fd) {
    char nothing[4096] = {0};
    off_t end = lseek(fd, 0, SEEK_END);
    ssize_t (*plain)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    if (end > 8192) plain(fd, nothing, sizeof nothing, end - (off_t)sizeof nothing);
}

static int sync_fails(int fd) {
    if (fails(fd, "lost", "lost")) forget_last_page(fd);
    else if (!fails(fd, "sync", "sync")) return 0;
    errno = EIO;
    return 1;
}

#define SYNC(name)                                             \
    int name(int fd) {                                         \
        int (*plain)(int) = dlsym(RTLD_NEXT, #name);           \
        return sync_fails(fd) ? -1 : plain(fd);                \
    }
SYNC(fsync)
SYNC(fdatasync)

#define WRITE(name, offset)                                                            \
    ssize_t name(int fd, const void *from, size_t size, offset at) {                   \
        ssize_t (*plain)(int, const void *, size_t, offset) = dlsym(RTLD_NEXT, #name); \
        if (fails(fd, "write", "write")) { errno = EIO; return -1; }                   \
        if (fails(fd, "full", "full")) { errno = ENOSPC; return -1; }                  \
        return plain(fd, from, size, at);                                              \
    }
WRITE(pwrite, off_t)
WRITE(pwrite64, off64_t)

#define READ(name, offset)                                                       \
    ssize_t name(int fd, void *into, size_t size, offset at) {                   \
        ssize_t (*plain)(int, void *, size_t, offset) = dlsym(RTLD_NEXT, #name); \
        if (fails(fd, "read", "read")) { errno = EIO; return -1; }               \
        return plain(fd, into, size, at);                                        \
    }
READ(pread, off_t)
READ(pread64, off64_t)
