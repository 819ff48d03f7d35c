"""Room on the disk, taken in advance and given back."""

from libc.errno cimport EINTR, EOPNOTSUPP, errno as c_errno
from libc.stdint cimport int64_t

cdef extern from *:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <sys/stat.h>
    #include <sys/statvfs.h>
    #include <unistd.h>
    #ifdef FALLOC_FL_KEEP_SIZE
    static int kt_reserve(int fd, int64_t length) {
        /* ext4 hands out what there is before it says ENOSPC: for a while everybody's disk would be full. */
        struct statvfs space;
        struct stat now;
        if (!fstatvfs(fd, &space) && !fstat(fd, &now) &&
            (length - now.st_blocks * 512) / (int64_t)space.f_frsize > (int64_t)space.f_bavail) {
            errno = ENOSPC;
            return -1;
        }
        return fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, length);
    }
    #else
    static int kt_reserve(int fd, int64_t length) { (void)fd; (void)length; errno = EOPNOTSUPP; return -1; }
    #endif
    static int kt_release(int fd) {
        struct stat now;
        return fstat(fd, &now) || ftruncate(fd, now.st_size);
    }
    """
    int kt_reserve(int fd, int64_t length) nogil
    int kt_release(int fd) nogil


def reserve(int fd, int64_t length) -> int:
    """Have the file system set *length* bytes aside for the file, whose size stays; 0 or an errno.

    A file system that cannot do that answers 0: writing will tell. Never `posix_fallocate`, whose fallback writes.
    """
    cdef int failed
    if length <= 0:
        return 0
    while True:
        with nogil:
            failed = kt_reserve(fd, length)
        if not failed or c_errno == EOPNOTSUPP:
            return 0
        if c_errno != EINTR:
            return c_errno


def release(int fd) -> int:
    """Give back what was set aside beyond the file's size; 0 or an errno.

    The size stays. The caller sees to it that nobody writes meanwhile: a file that grew between the look and the call
    would be cut.
    """
    cdef int failed
    with nogil:
        failed = kt_release(fd)
    return c_errno if failed else 0
