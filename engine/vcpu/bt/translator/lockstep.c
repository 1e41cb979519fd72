// SPDX-License-Identifier: GPL-2.0-or-later
// Two software engines in step: a leader, and the interpreter behind it on a copy of memory with
// the same inputs. For developers (docs/translator.md). How it works:
//
//   The leader runs as always. What reaches it from outside is written down (lockstep-log.h):
//   answers of the handler, values of the clock, and each interrupt with the place where it was
//   accepted, counted in retired instructions. Every now and then it is made to stop.
//
//   The follower, an interpreter with a copy of memory, then runs up to the same place with the
//   same answers. A place is a count of instructions, one of exceptions, and an RIP: between two
//   instructions the first stays while exceptions are delivered, maybe many to one address.
//
//   Both states are compared, and from time to time all of memory.
//
// So the guest must get its input through exits: a device that writes memory on its own (DMA of an
// I/O thread) is copied at the next stop, too late for a guest that has looked already. Direct
// kernels with serial console and PIO disks are fine.
#include "engine/vcpu/bt/bt-follow.h"
#include "engine/vcpu/bt/translator/lockstep-compare.h"
#include "engine/vcpu/bt/translator/lockstep-log.h"
#include "engine/vcpu/bt/translator/lockstep-memory.h"
#include "engine/vcpu/vcpu-backend.h"

#include <gio/gio.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#define FOLLOWER (&vcpu_backend_interpreter)
#define RANDOM_STOP_US 400

typedef struct {
    uint64_t gpa, size;
} Written;

typedef struct {
    BackendVmConfig config; // the machine's
    const VcpuBackendOps *leader_ops;
    BackendVm *leader_vm, *follower_vm;
    BtCpu *leader, *follower;
    LockstepMemory *memory;
    LockstepLog log;
    BtFollow leader_follow, follower_follow;
    unsigned rounds;
    bool quiet;
    uint64_t memory_interval, memory_due;
    bool copied;             // the follower has what the leader started with
    uint64_t checks, agreed; // comparisons; instructions at the last one

    pthread_t running_thread; // that runs the guest
    LockstepExit *asked;      // the leader's exit that is being answered
    bool leading, following;  // run of that CPU is on the stack
    bool kicked;              // from outside, atomic
    VcpuExitReason followed;  // how the follower's last run ended
    char *difference;         // found in the follower's run
    int vector;               // the follower's next interrupt

    GMutex written_lock;
    GArray *written; // by other threads
    GThread *stopper;
    bool ending; // atomic
} Lockstep;

// The backend of the process: ops carry no data of their own.
static const VcpuBackendOps *leader_ops;

static Lockstep *to_lockstep(void *opaque)
{
    return opaque;
}

// How far ahead code is fetched is a CPU's own affair: code in devices' memory is read by each.
static bool is_fetch(const BtCpu *cpu, const VcpuExit *exit)
{
    return exit->reason == VCPU_EXIT_MMIO && !cpu->insn;
}

// ---- The leader's world ----

static void leader_exit(void *opaque, unsigned cpu, VcpuExit *exit)
{
    Lockstep *l = to_lockstep(opaque);
    if (is_fetch(l->leader, exit)) {
        l->config.handler.exit(l->config.handler.opaque, cpu, exit);
        return;
    }
    l->asked = lockstep_log_ask(&l->log, exit);
    l->config.handler.exit(l->config.handler.opaque, cpu, exit);
    lockstep_log_answer(l->asked, exit);
    l->asked = NULL;
    // Time to compare. A string instruction that still goes on makes as many as the guest has
    // counted, and has no place in it where the follower could be stopped, too.
    if (l->log.exits->len >= LOCKSTEP_MANY_EXITS) {
        l->leader_follow.gives_up = l->log.exits->len >= 2 * LOCKSTEP_MANY_EXITS;
        l->leader_ops->kick((BackendVcpu *)l->leader);
    }
}

static int leader_acknowledge(void *opaque, unsigned cpu)
{
    Lockstep *l = to_lockstep(opaque);
    int vector = l->config.handler.acknowledge(l->config.handler.opaque, cpu);
    if (vector >= 0) {
        LockstepInterrupt interrupt = { l->leader->instructions, l->leader->stats.exceptions,
                                        l->leader->rip, (uint8_t)vector };
        g_array_append_val(l->log.interrupts, interrupt);
    }
    return vector;
}

// The time that the guest asks for is written down; what devices and the comparison ask for is not.
static int64_t leader_now(void *opaque)
{
    Lockstep *l = to_lockstep(opaque);
    int64_t now = l->config.now_ns(l->config.now_opaque);
    if (l->leading && !l->asked && pthread_equal(pthread_self(), l->running_thread))
        g_array_append_val(l->log.times, now);
    return now;
}

static void memory_changed(void *opaque, uint64_t gpa, uint64_t size)
{
    Lockstep *l = to_lockstep(opaque);
    if (l->asked) {
        lockstep_log_effect(l->asked, (LockstepEffect){ .kind = LOCKSTEP_MAP });
        l->leader_ops->kick((BackendVcpu *)l->leader); // before the map changes again
    }
}

static void memory_written(void *opaque, uint64_t gpa, uint64_t size)
{
    Lockstep *l = to_lockstep(opaque);
    if (l->asked && pthread_equal(pthread_self(), l->running_thread)) {
        uint8_t *bytes = g_malloc(size);
        guest_memory_read(l->config.memory, gpa, bytes, size);
        lockstep_log_effect(l->asked, (LockstepEffect){ .kind = LOCKSTEP_WRITE, .gpa = gpa,
                                                        .bytes = g_bytes_new_take(bytes, size) });
        return;
    }
    Written written = { gpa, size };
    g_mutex_lock(&l->written_lock);
    g_array_append_val(l->written, written);
    g_mutex_unlock(&l->written_lock);
}

// ---- The follower's world ----

static void differ(Lockstep *l, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void differ(Lockstep *l, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!l->difference)
        l->difference = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    FOLLOWER->kick((BackendVcpu *)l->follower);
}

static void do_effect(Lockstep *l, const LockstepEffect *effect)
{
    switch (effect->kind) {
    case LOCKSTEP_WRITE:
        guest_memory_write(lockstep_memory_map(l->memory), effect->gpa,
                           g_bytes_get_data(effect->bytes, NULL),
                           g_bytes_get_size(effect->bytes));
        break;
    case LOCKSTEP_MAP:
        lockstep_memory_update(l->memory);
        break;
    case LOCKSTEP_A20:
        FOLLOWER->set_a20(l->follower_vm, effect->enabled);
        break;
    }
}

static void follower_exit(void *opaque, unsigned cpu, VcpuExit *exit)
{
    Lockstep *l = to_lockstep(opaque);
    if (is_fetch(l->follower, exit)) {
        l->config.handler.exit(l->config.handler.opaque, cpu, exit);
        return;
    }
    VcpuExitReason reason = exit->reason;
    uint64_t where = reason == VCPU_EXIT_PORT ? exit->port.port
                     : reason == VCPU_EXIT_MSR ? exit->msr.index
                                               : exit->mmio.address;
    const LockstepExit *record = lockstep_log_replay(&l->log, exit);
    if (!record) {
        differ(l, "an exit (%s, %" PRIx64 ") that the leader did not make so",
               vcpu_exit_name(reason), where);
        return;
    }
    for (guint i = 0; record->effects && i < record->effects->len; i++)
        do_effect(l, &g_array_index(record->effects, LockstepEffect, i));
}

static int follower_acknowledge(void *opaque, unsigned cpu)
{
    Lockstep *l = to_lockstep(opaque);
    int vector = l->vector;
    l->vector = -1;
    FOLLOWER->set_interrupt((BackendVcpu *)l->follower, false);
    return vector;
}

static int64_t follower_now(void *opaque)
{
    Lockstep *l = to_lockstep(opaque);
    if (!l->following)
        return 0;
    if (l->log.time < l->log.times->len)
        return g_array_index(l->log.times, int64_t, l->log.time++);
    differ(l, "the time is asked for where the leader did not ask");
    return 0;
}

// ---- Catching up ----

static void follow_to(Lockstep *l, uint64_t instructions)
{
    VcpuExit exit;
    l->follower_follow.stop_at = instructions;
    l->following = true;
    FOLLOWER->run((BackendVcpu *)l->follower, &exit);
    l->following = false;
    l->followed = exit.reason;
}

static void follow_one(Lockstep *l)
{
    VcpuExit exit;
    l->following = true;
    FOLLOWER->run_some((BackendVcpu *)l->follower, 1, &exit);
    l->following = false;
    l->followed = exit.reason;
}

// Runs the follower up to a place of the leader's.
static void reach(Lockstep *l, uint64_t instructions, uint64_t exceptions, uint64_t rip)
{
    BtCpu *f = l->follower;
    while (f->instructions < instructions && !l->difference) {
        follow_to(l, instructions);
        if (l->followed != VCPU_EXIT_KICK && f->instructions < instructions)
            differ(l, "it ends with '%s' %" PRIu64 " instructions before the leader's place",
                   vcpu_exit_name(l->followed), instructions - f->instructions);
    }
    while (!l->difference && f->instructions == instructions &&
           f->stats.exceptions < exceptions && l->followed != VCPU_EXIT_SHUTDOWN)
        follow_one(l);
    if (f->instructions != instructions || f->stats.exceptions != exceptions || f->rip != rip)
        differ(l,
               "it is at %" PRIx64 " after %" PRIu64 " instructions and %" PRIu64
               " exceptions, the leader at %" PRIx64 " after %" PRIu64 " and %" PRIu64,
               f->rip, f->instructions, f->stats.exceptions, rip, instructions, exceptions);
}

static void take_interrupt(Lockstep *l, const LockstepInterrupt *interrupt)
{
    reach(l, interrupt->instructions, interrupt->exceptions, interrupt->rip);
    if (l->difference)
        return;
    l->vector = interrupt->vector;
    FOLLOWER->set_interrupt((BackendVcpu *)l->follower, true);
    follow_to(l, interrupt->instructions);
    if (l->vector >= 0)
        differ(l, "it does not accept interrupt %02x, which the leader accepted",
               interrupt->vector);
}

static void copy_written(Lockstep *l)
{
    g_mutex_lock(&l->written_lock);
    for (guint i = 0; i < l->written->len; i++) {
        Written *w = &g_array_index(l->written, Written, i);
        g_autofree uint8_t *bytes = g_malloc(w->size);
        guest_memory_read(l->config.memory, w->gpa, bytes, w->size);
        guest_memory_write(lockstep_memory_map(l->memory), w->gpa, bytes, w->size);
    }
    g_array_set_size(l->written, 0);
    g_mutex_unlock(&l->written_lock);
}

static void catch_up(Lockstep *l, VcpuExitReason reason)
{
    l->followed = VCPU_EXIT_NONE;
    for (guint i = 0; i < l->log.interrupts->len && !l->difference; i++)
        take_interrupt(l, &g_array_index(l->log.interrupts, LockstepInterrupt, i));
    if (!l->difference)
        reach(l, l->leader->instructions, l->leader->stats.exceptions, l->leader->rip);
    // A triple fault moves neither RIP nor the count.
    if (!l->difference && reason == VCPU_EXIT_SHUTDOWN) {
        if (l->followed != VCPU_EXIT_SHUTDOWN)
            follow_one(l);
        if (l->followed != VCPU_EXIT_SHUTDOWN)
            differ(l, "the leader shuts down, it does not");
    }
    if (!l->difference && l->log.exit < l->log.exits->len)
        differ(l, "it made %u exits, the leader %u", l->log.exit, l->log.exits->len);
    if (!l->difference && l->log.time < l->log.times->len)
        differ(l, "it asked for the time %u times, the leader %u times", l->log.time,
               l->log.times->len);
    copy_written(l);
}

// ---- Comparing ----

// Where a run loop has been since the last comparison.
static void describe_way(GString *text, const char *who, BtCpu *cpu)
{
    const BtFollow *follow = cpu->follow;
    g_string_append_printf(text, "  the %s's way since then, newest first:\n", who);
    for (unsigned i = 1; i <= MIN(follow->traced, BT_FOLLOW_TRACE); i++) {
        unsigned turn = (follow->traced - i) % BT_FOLLOW_TRACE;
        uint64_t rip = follow->trace[turn].rip;
        g_string_append_printf(text, "  at %" PRIx64 " after %" PRIu64 ":\n", rip,
                               follow->trace[turn].instructions);
        lockstep_describe_code(text, cpu, rip);
    }
}

static void tell_difference(Lockstep *l, const VcpuState *leader, const VcpuState *follower)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_append_printf(text,
                           "lockstep: the interpreter differs after %" PRIu64 " instructions (%"
                           PRIu64 " comparisons; all was well after %" PRIu64 "): %s\n",
                           l->follower->instructions, l->checks, l->agreed, l->difference);
    lockstep_describe_states(text, leader, follower);
    describe_way(text, "leader", l->leader);
    describe_way(text, "interpreter", l->follower);
    g_printerr("%s", text->str);
}

// Both are at the same place.
static bool compare(Lockstep *l)
{
    static __thread VcpuState leader, follower;
    l->leader_ops->get_state((BackendVcpu *)l->leader, &leader, VCPU_STATE_ALL);
    FOLLOWER->get_state((BackendVcpu *)l->follower, &follower, VCPU_STATE_ALL);
    l->checks++;
    if (!l->difference && !lockstep_states_equal(&leader, &follower))
        l->difference = g_strdup("the CPU's state");
    uint64_t gpa;
    if (!l->difference && l->leader->instructions >= l->memory_due) {
        l->memory_due = l->leader->instructions + l->memory_interval;
        if (!lockstep_memory_equal(l->memory, &gpa))
            l->difference = g_strdup_printf("memory at %" PRIx64, gpa);
    }
    if (l->difference)
        tell_difference(l, &leader, &follower);
    l->agreed = l->leader->instructions;
    l->leader_follow.traced = l->follower_follow.traced = 0;
    return !l->difference;
}

// ---- The backend ----

// Stops the leader at moments that nothing in the guest knows of.
static void *stop_now_and_then(void *opaque)
{
    Lockstep *l = to_lockstep(opaque);
    while (!__atomic_load_n(&l->ending, __ATOMIC_ACQUIRE)) {
        g_usleep((gulong)g_random_int_range(1, RANDOM_STOP_US));
        BtCpu *leader = __atomic_load_n(&l->leader, __ATOMIC_ACQUIRE);
        if (leader && __atomic_load_n(&l->leading, __ATOMIC_RELAXED))
            l->leader_ops->kick((BackendVcpu *)leader);
    }
    return NULL;
}

static void read_options(Lockstep *l)
{
    unsigned millions = 20;
    const char *text = g_getenv("LODGE_LOCKSTEP");
    g_auto(GStrv) words = g_strsplit(text ? text : "", ",", -1);
    for (unsigned i = 0; words[i]; i++) {
        if (g_str_has_prefix(words[i], "rounds="))
            l->rounds = (unsigned)g_ascii_strtoull(words[i] + 7, NULL, 0);
        else if (g_str_has_prefix(words[i], "memory="))
            millions = (unsigned)g_ascii_strtoull(words[i] + 7, NULL, 0);
    }
    l->quiet = text && g_strv_contains((const char *const *)words, "quiet");
    l->memory_interval = (uint64_t)millions * 1000000;
}

static void lockstep_vm_destroy(BackendVm *vm)
{
    Lockstep *l = to_lockstep(vm);
    if (!l)
        return;
    __atomic_store_n(&l->ending, true, __ATOMIC_RELEASE);
    if (l->stopper)
        g_thread_join(l->stopper);
    guest_memory_remove_listener(l->config.memory,
                                 &(GuestMemoryListener){ .changed = memory_changed, .opaque = l });
    if (l->checks && !l->quiet)
        g_printerr("lockstep: %" PRIu64 " comparisons, %s\n", l->checks,
                   l->difference ? "and a difference" : "no difference");
    l->leader_ops->vm_destroy(l->leader_vm);
    FOLLOWER->vm_destroy(l->follower_vm);
    lockstep_memory_free(l->memory);
    lockstep_log_finish(&l->log);
    g_array_unref(l->written);
    g_mutex_clear(&l->written_lock);
    g_free(l->difference);
    g_free(l);
}

static BackendVm *lockstep_vm_create(const BackendVmConfig *config, GError **error)
{
    Lockstep *l = g_new0(Lockstep, 1);
    l->config = *config;
    l->leader_ops = leader_ops;
    l->vector = -1;
    l->leader_follow.stop_at = UINT64_MAX;
    read_options(l);
    lockstep_log_init(&l->log);
    g_mutex_init(&l->written_lock);
    l->written = g_array_new(FALSE, FALSE, sizeof(Written));
    l->memory = lockstep_memory_new(config->memory, UINT64_C(1) << config->cpuid->physical_bits);
    guest_memory_add_listener(config->memory,
                              &(GuestMemoryListener){ .changed = memory_changed,
                                                      .written = memory_written, .opaque = l });
    BackendVmConfig leader = *config, follower = *config;
    leader.handler = (VmHandler){ leader_exit, leader_acknowledge, l };
    leader.now_ns = leader_now;
    follower.memory = lockstep_memory_map(l->memory);
    follower.handler = (VmHandler){ follower_exit, follower_acknowledge, l };
    follower.now_ns = follower_now;
    leader.now_opaque = follower.now_opaque = l;
    l->leader_vm = l->leader_ops->vm_create(&leader, error);
    l->follower_vm = l->leader_vm ? FOLLOWER->vm_create(&follower, error) : NULL;
    if (!l->follower_vm) {
        lockstep_vm_destroy((BackendVm *)l);
        return NULL;
    }
    if (!l->rounds)
        l->stopper = g_thread_new("lockstep", stop_now_and_then, l);
    return (BackendVm *)l;
}

static BackendVcpu *lockstep_vcpu_create(BackendVm *vm, unsigned cpu, GError **error)
{
    Lockstep *l = to_lockstep(vm);
    if (cpu != 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "in lockstep a machine has one virtual CPU; set cpu.count to 1");
        return NULL;
    }
    BtCpu *leader = (BtCpu *)l->leader_ops->vcpu_create(l->leader_vm, 0, error);
    l->follower = leader ? (BtCpu *)FOLLOWER->vcpu_create(l->follower_vm, 0, error) : NULL;
    if (!l->follower) {
        l->leader_ops->vcpu_destroy((BackendVcpu *)leader);
        return NULL;
    }
    leader->follow = &l->leader_follow;
    l->follower->follow = &l->follower_follow;
    __atomic_fetch_or(&l->follower->request, BT_REQUEST_COUNT, __ATOMIC_SEQ_CST);
    __atomic_store_n(&l->leader, leader, __ATOMIC_RELEASE);
    return (BackendVcpu *)l;
}

static void lockstep_vcpu_destroy(BackendVcpu *vcpu)
{
    Lockstep *l = to_lockstep(vcpu);
    if (!l)
        return;
    BtCpu *leader = l->leader;
    if (l->stopper) { // it kicks the leader
        __atomic_store_n(&l->ending, true, __ATOMIC_RELEASE);
        g_thread_join(g_steal_pointer(&l->stopper));
    }
    l->leader = NULL;
    l->leader_ops->vcpu_destroy((BackendVcpu *)leader);
    FOLLOWER->vcpu_destroy((BackendVcpu *)l->follower);
}

// Memory that changed while nothing ran. Before the first run it is not even told of.
static void update_memory(Lockstep *l)
{
    if (!l->copied) {
        lockstep_memory_update(l->memory);
        lockstep_memory_copy(l->memory);
    }
    copy_written(l);
}

// To the next stop, and the comparison there. rounds: turns of the leader's run loop, 0: no limit.
static void run_to_stop(Lockstep *l, unsigned rounds, VcpuExit *ret_exit)
{
    update_memory(l);
    l->copied = true;
    l->running_thread = pthread_self();
    l->leader_follow.rounds = rounds ? rounds + 1 : 0;
    __atomic_store_n(&l->leading, true, __ATOMIC_RELAXED);
    l->leader_ops->run((BackendVcpu *)l->leader, ret_exit);
    __atomic_store_n(&l->leading, false, __ATOMIC_RELAXED);
    if (l->leader_follow.gives_up) {
        *ret_exit = (VcpuExit){ .reason = VCPU_EXIT_INTERNAL_ERROR,
                                .internal_error = { .text = LOCKSTEP_TOO_MANY } };
        lockstep_log_trim(&l->log);
        return;
    }
    catch_up(l, ret_exit->reason);
    if (!compare(l))
        *ret_exit = (VcpuExit){ .reason = VCPU_EXIT_INTERNAL_ERROR,
                                .internal_error = { .text = "the engines in lockstep differ" } };
    lockstep_log_trim(&l->log);
}

static void lockstep_run(BackendVcpu *vcpu, VcpuExit *ret_exit)
{
    Lockstep *l = to_lockstep(vcpu);
    do {
        run_to_stop(l, l->rounds, ret_exit);
    } while (ret_exit->reason == VCPU_EXIT_KICK &&
             !__atomic_exchange_n(&l->kicked, false, __ATOMIC_ACQ_REL));
}

// Counts turns of the run loop instead of instructions, and makes every poll one of them.
static void lockstep_run_some(BackendVcpu *vcpu, unsigned rounds, VcpuExit *ret_exit)
{
    Lockstep *l = to_lockstep(vcpu);
    __atomic_fetch_or(&l->leader->request, BT_REQUEST_COUNT, __ATOMIC_SEQ_CST);
    run_to_stop(l, rounds, ret_exit);
    __atomic_fetch_and(&l->leader->request, ~(uint32_t)BT_REQUEST_COUNT, __ATOMIC_SEQ_CST);
}

static void lockstep_get_state(BackendVcpu *vcpu, VcpuState *ret_state, VcpuStateGroups groups)
{
    Lockstep *l = to_lockstep(vcpu);
    l->leader_ops->get_state((BackendVcpu *)l->leader, ret_state, groups);
}

static bool lockstep_set_state(BackendVcpu *vcpu, const VcpuState *state, VcpuStateGroups groups)
{
    Lockstep *l = to_lockstep(vcpu);
    update_memory(l); // PAE: page-directory pointers come from there
    return l->leader_ops->set_state((BackendVcpu *)l->leader, state, groups) &&
           FOLLOWER->set_state((BackendVcpu *)l->follower, state, groups);
}

static void lockstep_set_interrupt(BackendVcpu *vcpu, bool pending)
{
    Lockstep *l = to_lockstep(vcpu);
    l->leader_ops->set_interrupt((BackendVcpu *)l->leader, pending);
}

static void lockstep_inject_nmi(BackendVcpu *vcpu)
{
    Lockstep *l = to_lockstep(vcpu);
    l->leader_ops->inject_nmi((BackendVcpu *)l->leader);
}

static void lockstep_kick(BackendVcpu *vcpu)
{
    Lockstep *l = to_lockstep(vcpu);
    __atomic_store_n(&l->kicked, true, __ATOMIC_RELEASE);
    l->leader_ops->kick((BackendVcpu *)l->leader);
}

static void lockstep_set_a20(BackendVm *vm, bool enabled)
{
    Lockstep *l = to_lockstep(vm);
    l->leader_ops->set_a20(l->leader_vm, enabled);
    if (l->asked)
        lockstep_log_effect(l->asked,
                            (LockstepEffect){ .kind = LOCKSTEP_A20, .enabled = enabled });
    else
        FOLLOWER->set_a20(l->follower_vm, enabled);
}

static void lockstep_stats(BackendVcpu *vcpu, VcpuStats *ret_stats)
{
    Lockstep *l = to_lockstep(vcpu);
    l->leader_ops->stats((BackendVcpu *)l->leader, ret_stats);
}

static uint64_t lockstep_tsc(BackendVcpu *vcpu)
{
    Lockstep *l = to_lockstep(vcpu);
    return l->leader_ops->tsc((BackendVcpu *)l->leader);
}

static char *lockstep_probe(void)
{
    return leader_ops->probe();
}

// What the two may answer differently is not offered.
static CpuFeatureSet lockstep_features(void)
{
    return leader_ops->features() & ~(CPU_FEATURE_BIT(RDRAND) | CPU_FEATURE_BIT(RDSEED));
}

const VcpuBackendOps *vcpu_backend_lockstep(const VcpuBackendOps *leader)
{
    static const VcpuBackendOps ops = {
        .name = "lockstep",
        .probe = lockstep_probe,
        .features = lockstep_features,
        .vm_create = lockstep_vm_create,
        .vm_destroy = lockstep_vm_destroy,
        .vcpu_create = lockstep_vcpu_create,
        .vcpu_destroy = lockstep_vcpu_destroy,
        .run = lockstep_run,
        .run_some = lockstep_run_some,
        .get_state = lockstep_get_state,
        .set_state = lockstep_set_state,
        .set_interrupt = lockstep_set_interrupt,
        .inject_nmi = lockstep_inject_nmi,
        .kick = lockstep_kick,
        .set_a20 = lockstep_set_a20,
        .stats = lockstep_stats,
        .tsc = lockstep_tsc,
    };
    leader_ops = leader;
    return &ops;
}
