// SPDX-License-Identifier: GPL-2.0-or-later
// seccomp and Landlock for lodge-netd. The system calls are those of libslirp's sockets, of the
// poll loop and of the C library below them; the kill default makes a missing one loud in tests
// instead of silently half-working.
#include "engine/netd/netd-sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// Added to Landlock after the headers that we build with (ABI 3 and 5).
#define ACCESS_FS_TRUNCATE  (1u << 14)
#define ACCESS_FS_IOCTL_DEV (1u << 15)

static const int worker_calls[] = {
    // Sockets.
    SCMP_SYS(bind), SCMP_SYS(connect), SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4),
    SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
    SCMP_SYS(shutdown), SCMP_SYS(sendto), SCMP_SYS(recvfrom), SCMP_SYS(sendmsg), SCMP_SYS(recvmsg),
    SCMP_SYS(sendmmsg), SCMP_SYS(recvmmsg),
    // Descriptors. openat is bounded below and by Landlock.
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(close),
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(fcntl), SCMP_SYS(lseek), SCMP_SYS(fstat),
    SCMP_SYS(stat), SCMP_SYS(newfstatat), SCMP_SYS(statx),
    // Memory, without execution (see below for mmap and mprotect).
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
    // Time, randomness, the process itself.
    SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep), SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid),
    SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall), SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

static const int supervisor_calls[] = {
    SCMP_SYS(clone), SCMP_SYS(clone3), SCMP_SYS(fork), SCMP_SYS(wait4), SCMP_SYS(prctl),
    SCMP_SYS(seccomp), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(getppid),
    SCMP_SYS(tgkill),
};

// Landlock is younger than libseccomp's list of names.
static const int landlock_calls[] = { SYS_landlock_create_ruleset, SYS_landlock_add_rule,
                                      SYS_landlock_restrict_self };

static int allow_all(scmp_filter_ctx filter, const int *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
        if (rc)
            return rc;
    }
    return 0;
}

// Calls of which only some arguments are harmless. What slirp tries and can live without is
// refused with an error instead of killing.
static int allow_bounded(scmp_filter_ctx filter)
{
    const uint64_t writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;
    int rc = 0;
    static const int families[] = { AF_INET, AF_INET6 };
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        rc |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                               SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
    static const int refused[] = { AF_UNIX, AF_NETLINK }; // interface names, system log
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        rc |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                               SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)refused[i]));
    static const unsigned long requests[] = { FIONREAD, FIONBIO, SIOCATMARK };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++)
        rc |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                               SCMP_A1(SCMP_CMP_EQ, requests[i]));
    rc |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                           SCMP_A2(SCMP_CMP_MASKED_EQ, writing, 0));
    rc |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(open), 1,
                           SCMP_A1(SCMP_CMP_MASKED_EQ, writing, 0));
    rc |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                           SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    rc |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                           SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return rc ? -EINVAL : 0;
}

static int load_filter(bool supervisor)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return -ENOMEM;
    int rc = allow_all(filter, worker_calls, sizeof worker_calls / sizeof worker_calls[0]);
    if (!rc)
        rc = allow_bounded(filter);
    if (!rc && supervisor)
        rc = allow_all(filter, supervisor_calls,
                       sizeof supervisor_calls / sizeof supervisor_calls[0]);
    if (!rc && supervisor)
        rc = allow_all(filter, landlock_calls, sizeof landlock_calls / sizeof landlock_calls[0]);
    // abort() of a failed check in slirp: the supervisor should see SIGABRT, not SIGSYS.
    if (!rc && !supervisor)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    if (!rc)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc;
}

// Lets `path` be read. A path that does not exist needs no rule.
static void allow_file(int ruleset, const char *path)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return;
    struct landlock_path_beneath_attr rule = { .allowed_access = LANDLOCK_ACCESS_FS_READ_FILE,
                                               .parent_fd = fd };
    syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(fd);
}

// False where the kernel has no Landlock.
static bool restrict_files(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1)
        return false;
    uint64_t access = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; // all of ABI 1
    if (abi >= 2)
        access |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        access |= ACCESS_FS_TRUNCATE;
    if (abi >= 5)
        access |= ACCESS_FS_IOCTL_DEV;
    struct landlock_ruleset_attr attr = { .handled_access_fs = access };
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (ruleset < 0)
        return false;
    allow_file(ruleset, "/etc/resolv.conf"); // a symbolic link's target is what is allowed
    allow_file(ruleset, "/etc/hosts");
    allow_file(ruleset, "/dev/urandom"); // the seed of slirp's sequence numbers, through GLib
    long rc = syscall(SYS_landlock_restrict_self, ruleset, 0);
    close(ruleset);
    return rc == 0;
}

int netd_sandbox_supervisor(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -errno;
    return load_filter(true);
}

int netd_sandbox_worker(bool *ret_files)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -errno;
    bool files = restrict_files();
    int rc = load_filter(false);
    if (rc == 0)
        *ret_files = files;
    return rc;
}
