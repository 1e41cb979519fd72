// SPDX-License-Identifier: GPL-2.0-or-later
// Three layers: no_new_privs; seccomp for all threads, with a kill default; Landlock for the main
// thread and all that it starts (no file, from ABI 4 on no TCP: it holds should a call slip through
// the list). Landlock cannot be laid on threads that run already, so the list alone refuses every
// opening of a file: whoever needs one later must have its descriptor now.
//
// What a library may try and can do without (opening a file, making a socket) gets an error instead
// of death; executing and tracing is death.
//
// The list is what was seen to be needed by GLib, GDBus, libspice-server, liburing, KVM and our own
// threads, by purpose. Adding a row needs a reason in its comment.
#include "engine/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

// Rights by the ABI version that brought them; headers older than the kernel lack the later ones.
#define FS_ABI_1 ((UINT64_C(1) << 13) - 1)
#define FS_REFER (UINT64_C(1) << 13)     // ABI 2
#define FS_TRUNCATE (UINT64_C(1) << 14)  // ABI 3
#define NET_TCP UINT64_C(3)              // ABI 4: bind, connect

// The kernel's struct as of ABI 4; older kernels take the shorter prefix.
typedef struct {
    uint64_t handled_fs;
    uint64_t handled_net;
} LandlockRules;

static const int allowed[] = {
    // memory
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(mlock),
    SCMP_SYS(munlock), SCMP_SYS(memfd_create), SCMP_SYS(ftruncate), SCMP_SYS(fallocate),
    SCMP_SYS(membarrier),
    // threads, time, waiting
    SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(get_robust_list), SCMP_SYS(rseq),
    SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(getuid), SCMP_SYS(geteuid),
    SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_setscheduler), SCMP_SYS(sched_getscheduler), SCMP_SYS(sched_getparam),
    SCMP_SYS(sched_getattr), SCMP_SYS(sched_setattr),
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(exit),
    SCMP_SYS(exit_group), SCMP_SYS(restart_syscall), SCMP_SYS(getrusage), SCMP_SYS(times),
    SCMP_SYS(getrandom), SCMP_SYS(sysinfo), SCMP_SYS(uname), SCMP_SYS(set_tid_address),
    SCMP_SYS(getcpu),
    // signals: to our own threads only (tgkill is checked below)
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigtimedwait), SCMP_SYS(sigaltstack), SCMP_SYS(signalfd4),
    // descriptors that are open already
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64),
    SCMP_SYS(pwrite64), SCMP_SYS(preadv), SCMP_SYS(pwritev), SCMP_SYS(preadv2),
    SCMP_SYS(pwritev2), SCMP_SYS(lseek), SCMP_SYS(close), SCMP_SYS(close_range), SCMP_SYS(dup),
    SCMP_SYS(dup2), SCMP_SYS(dup3), SCMP_SYS(fcntl), SCMP_SYS(fstat), SCMP_SYS(fdatasync),
    SCMP_SYS(fsync), SCMP_SYS(sync_file_range), SCMP_SYS(fadvise64), SCMP_SYS(copy_file_range),
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6),
    SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
    SCMP_SYS(eventfd2), SCMP_SYS(pipe2), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime),
    SCMP_SYS(timerfd_gettime), SCMP_SYS(io_uring_enter),
    // sockets that exist: the session bus, SPICE clients, the network process
    SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(sendmsg), SCMP_SYS(recvmsg),
    SCMP_SYS(sendmmsg), SCMP_SYS(recvmmsg), SCMP_SYS(sendto), SCMP_SYS(recvfrom),
    SCMP_SYS(shutdown), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    // the network process ends with us
    SCMP_SYS(wait4), SCMP_SYS(waitid),
    // harmless questions
    SCMP_SYS(getdents64), SCMP_SYS(getcwd), SCMP_SYS(prlimit64), SCMP_SYS(getrlimit),
};

// What a library may try and live without.
static const int refused[] = {
    SCMP_SYS(open),     SCMP_SYS(openat),    SCMP_SYS(openat2),   SCMP_SYS(creat),
    SCMP_SYS(rename),   SCMP_SYS(renameat),  SCMP_SYS(renameat2), SCMP_SYS(unlink),
    SCMP_SYS(unlinkat), SCMP_SYS(mkdir),     SCMP_SYS(mkdirat),   SCMP_SYS(rmdir),
    SCMP_SYS(stat),     SCMP_SYS(lstat),     SCMP_SYS(newfstatat), SCMP_SYS(statx),
    SCMP_SYS(access),   SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink),
    SCMP_SYS(readlinkat), SCMP_SYS(fchmod),  SCMP_SYS(statfs),    SCMP_SYS(fstatfs),
    SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(clone3),
    SCMP_SYS(inotify_init1), SCMP_SYS(inotify_add_watch), SCMP_SYS(chmod), SCMP_SYS(ioperm),
    SCMP_SYS(sched_setaffinity), SCMP_SYS(setpriority), SCMP_SYS(getxattr),
};

static bool seccomp_problem(int result, const char *what, GError **error)
{
    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-result),
                "the engine cannot lock itself in: %s: %s", what, g_strerror(-result));
    return false;
}

static int add_allowed(scmp_filter_ctx filter)
{
    int result = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(allowed) && result == 0; i++)
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    return result;
}

static int add_refused(scmp_filter_ctx filter)
{
    int result = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(refused) && result == 0; i++) {
        // glibc takes clone where clone3 "does not exist"; clone's flags can be checked.
        int code = refused[i] == SCMP_SYS(clone3) ? ENOSYS : EACCES;
        result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(code), refused[i], 0);
    }
    return result;
}

// Calls whose arguments decide.
static int add_checked(scmp_filter_ctx filter, const SandboxConfig *config)
{
    const struct scmp_arg_cmp no_exec = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    const struct scmp_arg_cmp thread = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD);
    const struct scmp_arg_cmp own_process = SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid());
    // Streams only: a datagram socket could send to any path without connect().
    const struct scmp_arg_cmp unix_stream[] = { SCMP_A0(SCMP_CMP_EQ, AF_UNIX),
                                                SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, SOCK_STREAM) };
    int result = 0;
    const int map_calls[] = { SCMP_SYS(mmap), SCMP_SYS(mprotect) };
    for (size_t i = 0; i < G_N_ELEMENTS(map_calls) && result == 0; i++) {
        if (config->executable_memory)
            result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, map_calls[i], 0);
        else
            result = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, map_calls[i], 1, &no_exec);
    }
    if (result == 0)
        result = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, &thread);
    if (result == 0)
        result = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, &own_process);
    if (result == 0)
        result = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(socketpair),
                                        G_N_ELEMENTS(unix_stream), unix_stream);
    // Names of threads.
    const struct scmp_arg_cmp set_name = SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME);
    if (result == 0)
        result = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, &set_name);
    // FIONREAD and FIONBIO on sockets; KVM's type is AEh in bits 15:8.
    const struct scmp_arg_cmp sockets[] = { SCMP_A1(SCMP_CMP_EQ, 0x541b),
                                            SCMP_A1(SCMP_CMP_EQ, 0x5421),
                                            SCMP_A1(SCMP_CMP_EQ, 0x5401) };
    for (size_t i = 0; i < G_N_ELEMENTS(sockets) && result == 0; i++)
        result = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, &sockets[i]);
    const struct scmp_arg_cmp kvm = SCMP_A1(SCMP_CMP_MASKED_EQ, 0xff00, 0xae00);
    if (result == 0 && config->kvm)
        result = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, &kvm);
    return result;
}

static bool enter_seccomp(const SandboxConfig *config, GError **error)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return seccomp_problem(-ENOMEM, "seccomp", error);
    int result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1); // threads that run already
    if (result == 0)
        seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (result == 0)
        result = add_allowed(filter);
    if (result == 0)
        result = add_refused(filter);
    if (result == 0)
        result = add_checked(filter, config);
    if (result == 0)
        result = seccomp_load(filter);
    seccomp_release(filter);
    return result == 0 || seccomp_problem(result, "seccomp", error);
}

bool sandbox_has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;
}

// Returns false where the kernel has no Landlock (before Linux 5.13) or refuses.
static bool enter_landlock(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1)
        return false;
    LandlockRules rules = { .handled_fs = FS_ABI_1 };
    if (abi >= 2)
        rules.handled_fs |= FS_REFER;
    if (abi >= 3)
        rules.handled_fs |= FS_TRUNCATE;
    if (abi >= 4)
        rules.handled_net = NET_TCP;
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules,
                               abi >= 4 ? sizeof(rules) : sizeof(rules.handled_fs), 0);
    if (ruleset < 0)
        return false;
    bool good = syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    close(ruleset);
    return good;
}

bool sandbox_enter(const SandboxConfig *config, GError **error)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return seccomp_problem(-errno, "no_new_privs", error);
    if (!enter_landlock())
        g_info("this kernel has no Landlock; seccomp alone holds the engine");
    return enter_seccomp(config, error);
}

// The self-test. Each check runs in a child of its own, because a kill is one of the right answers.

static int check_open(void)
{
    return open("/etc/passwd", O_RDONLY) < 0 ? 0 : 1;
}

static int check_create(void)
{
    return open("/tmp/lodge-sandbox-check", O_WRONLY | O_CREAT, 0600) < 0 ? 0 : 1;
}

static int check_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) < 0 && socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? 0 : 1;
}

static int check_connect(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX,
                                   .sun_path = "/run/dbus/system_bus_socket" };
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return 2;
    return connect(pair[0], (struct sockaddr *)&address, sizeof(address)) < 0 && errno == EACCES
               ? 0
               : 1;
}

static int check_datagrams(void)
{
    int pair[2];
    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
    return 1;
}

static int check_execute(void)
{
    execl("/bin/true", "true", NULL);
    return 1;
}

static int check_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid < 0 ? 0 : 1;
}

static int check_ptrace(void)
{
    syscall(SYS_ptrace, 0, 0, 0, 0);
    return 1;
}

static int check_kill_others(void)
{
    syscall(SYS_kill, getppid(), 0);
    return 1;
}

static int check_executable_memory(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? 0 : 1;
}

static gpointer add_one(gpointer value)
{
    return GINT_TO_POINTER(GPOINTER_TO_INT(value) + 1);
}

static int check_thread(void)
{
    GThread *thread = g_thread_new("check", add_one, GINT_TO_POINTER(1));
    return GPOINTER_TO_INT(g_thread_join(thread)) == 2 ? 0 : 1;
}

static int check_pass_descriptor(void)
{
    int pair[2], memory = memfd_create("check", MFD_CLOEXEC);
    if (memory < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return 1;
    char byte = 'x', control[CMSG_SPACE(sizeof(int))] = { 0 };
    struct iovec iov = { &byte, 1 };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
                              .msg_controllen = sizeof(control) };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &memory, sizeof(int));
    return sendmsg(pair[0], &message, 0) == 1 && recvmsg(pair[1], &message, 0) == 1 ? 0 : 1;
}

// A thread that ran before: 1 wait, 2 try.
static gpointer open_when_told(gpointer opaque)
{
    gint *stage = opaque;
    while (g_atomic_int_get(stage) != 2)
        g_usleep(1000);
    return GINT_TO_POINTER(check_open());
}

static const struct {
    const char *what;
    int (*check)(void);
    bool must_die; // the kernel must kill the process
} checks[] = {
    { "opening a file fails", check_open, false },
    { "creating a file fails", check_create, false },
    { "making a socket fails", check_socket, false },
    { "connecting fails", check_connect, false },
    { "making a datagram socket kills", check_datagrams, true },
    { "executing a program kills", check_execute, true },
    { "making a process kills", check_fork, true },
    { "tracing kills", check_ptrace, true },
    { "signalling another process kills", check_kill_others, true },
    { "executable memory kills", check_executable_memory, true },
    { "starting a thread works", check_thread, false },
    { "passing a descriptor works", check_pass_descriptor, false },
};

static bool enter_for_test(void)
{
    g_autoptr(GError) error = NULL;
    if (sandbox_enter(&(SandboxConfig){ 0 }, &error))
        return true;
    fprintf(stderr, "%s\n", error->message);
    return false;
}

static int run_check(size_t i)
{
    return enter_for_test() ? checks[i].check() : 3;
}

static int run_thread_check(void)
{
    gint stage = 1;
    GThread *thread = g_thread_new("before", open_when_told, &stage);
    if (!enter_for_test())
        return 3;
    g_atomic_int_set(&stage, 2);
    return GPOINTER_TO_INT(g_thread_join(thread));
}

static bool report(const char *what, pid_t pid, bool must_die)
{
    int status = 0;
    waitpid(pid, &status, 0);
    bool died = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
    bool good = must_die ? died : WIFEXITED(status) && WEXITSTATUS(status) == 0;
    printf("%s: %s\n", good ? "ok" : "FAILED", what);
    fflush(stdout);
    return good;
}

int sandbox_self_test(void)
{
    bool good = true;
    for (size_t i = 0; i < G_N_ELEMENTS(checks); i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(run_check(i));
        good &= report(checks[i].what, pid, checks[i].must_die);
    }
    pid_t pid = fork();
    if (pid == 0)
        _exit(run_thread_check());
    good &= report("opening a file in a thread that ran before fails", pid, false);
    return good ? 0 : 1;
}
