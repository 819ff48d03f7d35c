"""What a file system can tell and do beyond the calls that Python has: room in advance, and whether it is local."""

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
    #ifdef __linux__
    #include <sys/vfs.h>
    static int kt_is_remote(int fd) {
        struct statfs about;
        if (fstatfs(fd, &about)) return 0;
        switch ((unsigned int)about.f_type) { /* statfs(2) lists these */
            case 0x6969: case 0x517b: case 0xff534d42: case 0xfe534d42: /* NFS, SMB, CIFS, SMB 2 */
            case 0x65735546: case 0x01021997: case 0x00c36400: case 0x5346414f: /* FUSE, 9P, Ceph, AFS */
                return 1;
        }
        return 0;
    }
    #else
    static int kt_is_remote(int fd) { (void)fd; return 0; }
    #endif
    static int kt_release(int fd) {
        struct stat now;
        return fstat(fd, &now) || ftruncate(fd, now.st_size);
    }
    """
    int kt_reserve(int fd, int64_t length) nogil
    int kt_release(int fd) nogil
    int kt_is_remote(int fd) nogil


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


def is_remote(int fd) -> bool:
    """Whether the file is on a network or in a user process, where others may write what a mapping does not show."""
    cdef int remote
    with nogil:
        remote = kt_is_remote(fd)
    return remote != 0


def release(int fd) -> int:
    """Give back what was set aside beyond the file's size; 0 or an errno.

    The size stays. The caller sees to it that nobody writes meanwhile: a file that grew between the look and the call
    would be cut.
    """
    cdef int failed
    with nogil:
        failed = kt_release(fd)
    return c_errno if failed else 0
