// SPDX-License-Identifier: GPL-2.0-or-later
// See disk-sandbox.h. Two layers: Landlock leaves the folder of the image to read (to write, where
// it is changed) and that of the new image; seccomp refuses programs, sockets, other processes and
// rings (which pass it by). Where the kernel has no Landlock, names that an image holds are still
// resolved beneath its folder (snapshots/formats/image-file.h).
#include "engine/disk-sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// Rights by the ABI that brought them; older headers lack the later ones.
#define ALL_OF_ABI_1 ((UINT64_C(1) << 13) - 1)
#define REFER        (UINT64_C(1) << 13) // ABI 2
#define TRUNCATE     (UINT64_C(1) << 14) // ABI 3
#define READ         (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define CHANGE       (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | TRUNCATE)
#define CREATE                                                                                     \
    (READ | CHANGE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE | REFER)

// Death: nothing of ours does these. The others are refused: a library may try.
static const int deadly[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(bpf),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(keyctl),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
};
static const int refused[] = {
    SCMP_SYS(socket), SCMP_SYS(socketpair),     SCMP_SYS(connect),     SCMP_SYS(bind),
    SCMP_SYS(listen), SCMP_SYS(io_uring_setup), SCMP_SYS(userfaultfd), SCMP_SYS(perf_event_open),
    SCMP_SYS(kill),   SCMP_SYS(pidfd_open),
};

static bool set_problem(int code, const char *what, GError **error)
{
    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(code),
                "the process that reads images cannot lock itself in: %s: %s", what,
                g_strerror(code));
    return false;
}

// A path that is not there gets no right; opening it says so later.
static void allow(int ruleset, const char *path, uint64_t rights, uint64_t handled)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return;
    bool folder = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
    uint64_t of_files = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | TRUNCATE;
    struct landlock_path_beneath_attr rule = {
        .allowed_access = rights & handled & (folder ? UINT64_MAX : of_files),
        .parent_fd = fd,
    };
    syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(fd);
}

static void allow_folder_of(int ruleset, const char *path, uint64_t rights, uint64_t handled)
{
    g_autofree char *folder = g_path_get_dirname(path);
    allow(ruleset, folder, rights, handled);
}

static bool enter_landlock(const DiskSandbox *sandbox, GError **error)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1) {
        g_debug("this kernel has no Landlock");
        return true;
    }
    uint64_t handled = ALL_OF_ABI_1 | (abi >= 2 ? REFER : 0) | (abi >= 3 ? TRUNCATE : 0);
    struct landlock_ruleset_attr attr = { .handled_access_fs = handled };
    int ruleset =
        (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr.handled_access_fs, 0);
    if (ruleset < 0)
        return set_problem(errno, "Landlock", error);
    uint64_t rights = sandbox->writes ? READ | CHANGE : READ;
    struct stat st;
    // A disk of the host is no reason to open all of /dev.
    if (stat(sandbox->source, &st) < 0 || S_ISREG(st.st_mode))
        allow_folder_of(ruleset, sandbox->source, rights, handled);
    allow(ruleset, sandbox->source, rights, handled); // also where it is a link
    if (sandbox->store) {
        g_autofree char *path = g_canonicalize_filename(sandbox->store, NULL);
        g_autofree char *folder = g_path_get_dirname(path);
        allow_folder_of(ruleset, folder, READ, handled);
    }
    if (sandbox->target)
        allow_folder_of(ruleset, sandbox->target, CREATE, handled);
    allow(ruleset, "/dev/urandom", LANDLOCK_ACCESS_FS_READ_FILE, handled); // new identities
    int code = syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? errno : 0;
    close(ruleset);
    return code == 0 || set_problem(code, "Landlock", error);
}

static bool enter_seccomp(GError **error)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int result = filter ? 0 : -ENOMEM;
    for (size_t i = 0; i < G_N_ELEMENTS(deadly) && result == 0; i++)
        result = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
    for (size_t i = 0; i < G_N_ELEMENTS(refused) && result == 0; i++)
        result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), refused[i], 0);
    if (result == 0)
        result = seccomp_load(filter);
    if (filter)
        seccomp_release(filter);
    return result == 0 || set_problem(-result, "seccomp", error);
}

bool disk_sandbox_enter(const DiskSandbox *sandbox, GError **error)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return set_problem(errno, "no_new_privs", error);
    return enter_landlock(sandbox, error) && enter_seccomp(error);
}
