/* Preloaded into a test's child: counts the calls that change files below a root, and lets the n-th one go wrong.
   SQLite's own file and the lock file are left out: the index is a hint and has tests of its own. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COUNT, KILL_BEFORE, KILL_AFTER, FAIL_ONCE, FAIL_ON, CUT_BEFORE, CUT_AFTER, SHORT, FAIL_READS };
#define FS_IOC_SHUTDOWN _IOR('X', 125, unsigned int)

static char root[4096];
static long target, count;
static int mode, error, mount_fd = -1;

void kt_arm(const char *path, long n, int how, int number, int fd) {
    snprintf(root, sizeof root, "%s", path);
    target = n;
    mode = how;
    error = number;
    mount_fd = fd;
    count = 0;
}

long kt_count(void) { return count; }

static int ours(const char *path) {
    return root[0] && !strncmp(path, root, strlen(root)) && !strstr(path, "index.db") && !strstr(path, "/locks");
}

static int ours_fd(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = root[0] ? readlink(link, path, sizeof path - 1) : -1;
    if (n < 0) return 0;
    path[n] = 0;
    return ours(path);
}

static int ours_at(int dir, const char *name) {
    char link[64], path[8192];
    if (!root[0]) return 0;
    if (name[0] == '/') return ours(name);
    if (dir == AT_FDCWD) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    ssize_t n = readlink(link, path, 4096);
    if (n < 0) return 0;
    snprintf(path + n, sizeof path - n, "/%s", name);
    return ours(path);
}

static void cut(void) {
    unsigned int no_log_flush = 2;
    ioctl(mount_fd, FS_IOC_SHUTDOWN, &no_log_flush);
    kill(getpid(), SIGKILL);
}

static int before(void) { /* 0: go on, -1: fail */
    long n = ++count;
    if (mode == FAIL_ONCE ? n == target : mode == FAIL_ON && n >= target) {
        errno = error;
        return -1;
    }
    if (n == target && mode == KILL_BEFORE) kill(getpid(), SIGKILL);
    if (n == target && mode == CUT_BEFORE) cut();
    return 0;
}

static void after(void) {
    int saved = errno;
    if (count == target && mode == KILL_AFTER) kill(getpid(), SIGKILL);
    if (count == target && mode == CUT_AFTER) cut();
    errno = saved;
}

#define WRAP(type, name, parameters, arguments, relevant)            \
    type name parameters {                                           \
        static type(*real) parameters;                               \
        if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name); \
        if (!(relevant)) return real arguments;                      \
        if (before()) return -1;                                     \
        type result = real arguments;                                \
        after();                                                     \
        return result;                                               \
    }

#define SHORTENED(n) (mode == SHORT && (n) > 1 ? (n) / 2 : (n))

WRAP(ssize_t, write, (int fd, const void *data, size_t n), (fd, data, SHORTENED(n)), ours_fd(fd))
WRAP(ssize_t, pwrite, (int fd, const void *data, size_t n, off_t at), (fd, data, SHORTENED(n), at), ours_fd(fd))
WRAP(ssize_t, pwrite64, (int fd, const void *data, size_t n, off_t at), (fd, data, SHORTENED(n), at), ours_fd(fd))
WRAP(int, fsync, (int fd), (fd), ours_fd(fd))
WRAP(int, fdatasync, (int fd), (fd), ours_fd(fd))
WRAP(int, ftruncate, (int fd, off_t n), (fd, n), ours_fd(fd))
WRAP(int, ftruncate64, (int fd, off_t n), (fd, n), ours_fd(fd))
WRAP(int, fallocate, (int fd, int how, off_t at, off_t n), (fd, how, at, n), ours_fd(fd))
WRAP(int, fallocate64, (int fd, int how, off_t at, off_t n), (fd, how, at, n), ours_fd(fd))
WRAP(int, rename, (const char *from, const char *to), (from, to), ours(from))
WRAP(int, renameat, (int d, const char *from, int e, const char *to), (d, from, e, to), ours_at(d, from))
WRAP(int, unlink, (const char *path), (path), ours(path))
WRAP(int, unlinkat, (int dir, const char *name, int flags), (dir, name, flags), ours_at(dir, name))
WRAP(int, rmdir, (const char *path), (path), ours(path))
WRAP(int, mkdir, (const char *path, mode_t bits), (path, bits), ours(path))
WRAP(int, mkdirat, (int dir, const char *name, mode_t bits), (dir, name, bits), ours_at(dir, name))

#define READS(name)                                                                             \
    ssize_t name(int fd, void *into, size_t n, off_t at) {                                      \
        static ssize_t (*real)(int, void *, size_t, off_t);                                     \
        if (!real) real = (ssize_t(*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, #name);      \
        if (mode != FAIL_READS || !ours_fd(fd)) return real(fd, into, n, at);                   \
        errno = error;                                                                          \
        return -1;                                                                              \
    }

READS(pread)
READS(pread64)

#define OPENS(name, parameters, arguments, relevant)                            \
    int name parameters {                                                       \
        static int(*real) parameters;                                           \
        if (!real) real = (int(*) parameters)dlsym(RTLD_NEXT, #name);           \
        mode_t bits = 0;                                                        \
        if (flags & (O_CREAT | __O_TMPFILE)) {                                  \
            va_list rest;                                                       \
            va_start(rest, flags);                                              \
            bits = va_arg(rest, mode_t);                                        \
            va_end(rest);                                                       \
        }                                                                       \
        if (!(flags & O_CREAT) || !(relevant)) return real arguments;           \
        if (before()) return -1;                                                \
        int result = real arguments;                                            \
        after();                                                                \
        return result;                                                          \
    }

OPENS(open, (const char *path, int flags, ...), (path, flags, bits), ours(path))
OPENS(open64, (const char *path, int flags, ...), (path, flags, bits), ours(path))
OPENS(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, bits), ours_at(dir, path))
OPENS(openat64, (int dir, const char *path, int flags, ...), (dir, path, flags, bits), ours_at(dir, path))
