// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest on the translator: several CPUs run random bytes, in any mode each, over one
// memory, while interrupts, DMA, the A20 gate and the memory map change under them. Whatever they
// do the engine stays whole: guest memory lies between canaries that must not change, read-only
// memory stays what it was, a state that a CPU got into is one that it takes, and a CPU that is
// asked to stop stops. fuzz-bt-decode.c asks whether what they do is right; here only who survives.
//
// The input: a byte that chooses the translator's options, one for the number of CPUs, then for
// each CPU mode, flags and 16 bytes for registers, then code. Half of the inputs get instructions
// of the system strewn into the code: noise alone seldom gets far.
#include "engine/base/bytes.h"
#include "tests/unit/engine/vcpu/bt/bt-engine.h"
#include "tests/unit/engine/vcpu/bt/bt-machine.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define OPS          (&vcpu_backend_translator)
#define CANARY       (UINT64_C(1) << 20)
#define ROM          MACHINE_RAM // guest-physical address, behind RAM
#define ROM_SIZE     UINT64_C(0x10000)
#define LONGEST_CODE 2048
#define DISTURBANCES 12
#define PAUSE_US     250 // between disturbances
// A machine that is as busy as machines get still stops within.
#define STOPS_WITHIN_SECONDS 120

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Hostile Hostile;

typedef struct {
    Hostile *hostile;
    unsigned index;
    VcpuState start;
    pthread_t thread;
} HostileCpu;

struct Hostile {
    Machine *machine;
    uint8_t *outer, *ram, *rom;
    GuestSlot *moving;
    HostileCpu cpu[MACHINE_CPUS];
    size_t length; // of the code
    bool ending;   // atomic
};

static const char *const options[] = {
    "hot=1", "hot=1,code=256", "hot=1,poll", "hot=1,miss", "hot=1,insns=1", "hot=1,groups",
    "hot=1,clobber", "hot=3",       "hot=1,checked",
};

// ---- What the CPUs begin with ----

static void (*const modes[])(Machine *m) = {
    machine_long, machine_long_user, machine_compatibility, machine_pae, machine_paging,
    machine_protected_user, machine_protected, machine_protected_16, machine_real,
    machine_protected_v86,
};

// Pointers into code, tables, data and read-only memory, and what arithmetic stumbles over.
static uint64_t register_value(uint8_t seed)
{
    static const uint64_t edges[] = { 0, 1, 0x7f, 0xffff, 0x7fffffff, 0xffffffff, 0x80000000,
        0x7fffffffffffffff, 0x8000000000000000, UINT64_MAX, 0x00007ffffffffff8,
        MACHINE_RAM - 4, ROM + 8, ROM + ROM_SIZE - 2, 0xfee00000, MACHINE_CODE };
    return seed & 0x80 ? edges[seed & 15] : MACHINE_CODE + (uint64_t)(seed & 0x7f) * 0x3f3;
}

// The last layout wins where modes differ: the tables of the others are garbage then.
static void set_start(Hostile *h, HostileCpu *cpu, ByteReader *input, uint8_t shared_mode)
{
    Machine *m = h->machine;
    uint8_t mode = byte_reader_u8(input), flags = byte_reader_u8(input);
    modes[(mode & 0xc0 ? shared_mode : mode) % G_N_ELEMENTS(modes)](m);
    m->state.rflags |= (flags & 1 ? 0x200 : 0) | (flags & 2 ? 0x400 : 0) |
                       ((flags & 0x1c) == 0x1c ? 0x100 : 0);
    m->state.cr4 |= (flags & 32 ? 0x600 : 0) | (flags & 64 ? 0x40000 : 0); // SSE, XSAVE
    for (unsigned i = 0; i < 16; i++) {
        uint64_t value = register_value(byte_reader_u8(input));
        if (i != VCPU_RSP)
            m->state.gpr[i] = value;
    }
    m->state.gpr[VCPU_RSP] -= 0x400u * cpu->index;
    cpu->start = m->state;
}

// Instructions that reach deep into a CPU, as 64-bit code; other modes make of them what they can.
static void strew(uint8_t *code, size_t length, const uint8_t *noise)
{
    static const struct {
        uint8_t size, bytes[11];
    } deep[] = {
        { 3, { 0x0f, 0x22, 0xd8 } }, { 3, { 0x0f, 0x20, 0xd8 } }, // MOV CR3, RAX and back
        { 3, { 0x0f, 0x22, 0xe0 } }, { 3, { 0x0f, 0x22, 0xc0 } }, // MOV CR4, CR0
        { 3, { 0x0f, 0x01, 0x38 } }, { 2, { 0x0f, 0x30 } },       // INVLPG, WRMSR
        { 2, { 0x0f, 0x05 } },       { 3, { 0x48, 0x0f, 0x07 } }, // SYSCALL, SYSRET
        { 2, { 0x48, 0xcf } },       { 1, { 0x9d } },             // IRETQ, POPF
        { 3, { 0xf3, 0x48, 0xa5 } }, { 2, { 0xf3, 0xaa } },       // REP MOVSQ, STOSB
        { 2, { 0xf3, 0x6c } },       { 2, { 0xf3, 0xae } },       // REP INSB, SCASB
        { 4, { 0xf0, 0x0f, 0xc7, 0x0f } },                        // LOCK CMPXCHG8B [RDI]
        { 3, { 0x0f, 0xae, 0x0e } }, { 3, { 0x0f, 0xae, 0x2e } }, // FXRSTOR, XRSTOR
        { 3, { 0x0f, 0x01, 0x16 } }, { 3, { 0x0f, 0x01, 0x1e } }, // LGDT, LIDT
        { 3, { 0x0f, 0x00, 0xd8 } }, { 2, { 0x8e, 0xd8 } },       // LTR, MOV DS
        { 1, { 0xfb } },             { 1, { 0xf4 } },             // STI, HLT
        { 2, { 0xcd, 0x80 } },       { 2, { 0xff, 0xe0 } },       // INT, JMP RAX
        { 2, { 0xff, 0xd0 } },       { 1, { 0xc3 } },             // CALL RAX, RET
        { 7, { 0xc6, 0x05, 0x04, 0, 0, 0, 0x90 } },               // a store into this code
        { 7, { 0x88, 0x05, 0xf0, 0xff, 0xff, 0xff, 0x90 } },      // and behind
        { 2, { 0xeb, 0xf0 } },       { 2, { 0x74, 0xe0 } },       // jumps back
        { 3, { 0x0f, 0x23, 0xc0 } }, { 3, { 0x0f, 0x23, 0xf8 } }, // MOV DR0, DR7
        { 6, { 0x66, 0x0f, 0x38, 0x82, 0x06, 0x90 } },            // INVPCID
        { 5, { 0xc5, 0xfd, 0x7f, 0x06, 0x90 } },                  // VMOVDQA [RSI], YMM0
        { 10, { 0x48, 0xb8, 0, 0, 0x20, 0, 0, 0, 0, 0 } },        // MOV RAX, 200000h
    };
    for (size_t at = 0; at + 16 < length; at += 4 + noise[at] % 12) {
        unsigned which = noise[at + 1] % G_N_ELEMENTS(deep);
        memcpy(code + at, deep[which].bytes, deep[which].size);
    }
}

// ---- Memory ----

static void new_memory(Hostile *h)
{
    size_t size = 3 * CANARY + MACHINE_RAM + ROM_SIZE;
    h->outer = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (h->outer == MAP_FAILED)
        g_error("no memory for a guest");
    h->ram = h->outer + CANARY;
    h->rom = h->ram + MACHINE_RAM + CANARY;
    memset(h->outer, 0xa5, CANARY);
    memset(h->ram + MACHINE_RAM, 0xa5, CANARY);
    memset(h->rom, 0xa5, ROM_SIZE + CANARY);
    GuestMemory *memory = h->machine->memory;
    guest_memory_map(memory, "hostile", 0, MACHINE_RAM, h->ram, GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    guest_memory_map(memory, "rom", ROM, ROM_SIZE, h->rom, GUEST_SLOT_READ | GUEST_SLOT_ROM);
    h->moving = guest_memory_map(memory, "moving", MACHINE_DATA, 0x4000, h->ram + 0x200000,
                                 GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    for (unsigned v = 0; v < 256; v++)
        machine_write(h->machine, MACHINE_HANDLERS + 16 * v, 1, 0xf4);
}

static void check_canary(const uint8_t *bytes, size_t size, const char *what)
{
    if (bytes[0] != 0xa5 || memcmp(bytes, bytes + 1, size - 1) != 0)
        g_error("the guest wrote %s", what);
}

static void check_memory(const Hostile *h)
{
    check_canary(h->outer, CANARY, "below its memory");
    check_canary(h->ram + MACHINE_RAM, CANARY, "above its memory");
    check_canary(h->rom, ROM_SIZE, "to read-only memory");
    check_canary(h->rom + ROM_SIZE, CANARY, "behind read-only memory");
}

// ---- Running ----

static void *run_cpu(void *opaque)
{
    HostileCpu *cpu = opaque;
    Hostile *h = cpu->hostile;
    BackendVcpu *vcpu = h->machine->vcpu[cpu->index];
    g_autofree VcpuState *state = g_new(VcpuState, 1);
    for (unsigned i = 0; !__atomic_load_n(&h->ending, __ATOMIC_ACQUIRE); i++) {
        VcpuExit exit;
        OPS->run(vcpu, &exit);
        if (exit.reason == VCPU_EXIT_INTERNAL_ERROR)
            g_error("CPU %u: %s", cpu->index, exit.internal_error.text);
        OPS->get_state(vcpu, state, VCPU_STATE_ALL);
        if (!OPS->set_state(vcpu, state, VCPU_STATE_ALL))
            g_error("CPU %u's own state was refused", cpu->index);
        if (exit.reason == VCPU_EXIT_KICK)
            continue;
        // On with the registers that it had, elsewhere; now and then with tables of its own making.
        VcpuState next = cpu->start;
        memcpy(next.gpr, state->gpr, sizeof next.gpr);
        next.gpr[VCPU_RSP] = cpu->start.gpr[VCPU_RSP];
        next.rip = MACHINE_CODE + (i * 37 + cpu->index * 11) % h->length;
        if (i % 4 == 3) {
            next.cr3 = state->cr3;
            next.gdtr = state->gdtr;
            next.idtr = state->idtr;
        }
        if (!OPS->set_state(vcpu, &next, VCPU_STATE_ALL) &&
            !OPS->set_state(vcpu, &cpu->start, VCPU_STATE_ALL))
            g_error("a state of the machine's own was refused");
    }
    return NULL;
}

static void disturb(Hostile *h, unsigned cpus, uint8_t what)
{
    Machine *m = h->machine;
    unsigned cpu = what % cpus;
    uint8_t bytes[16];
    memset(bytes, what, sizeof bytes);
    switch (what >> 4 & 7) {
    case 0:
        g_mutex_lock(&m->lock);
        m->interrupt = 0x20 + what % 64;
        g_mutex_unlock(&m->lock);
        OPS->set_interrupt(m->vcpu[cpu], true);
        break;
    case 1:
        OPS->inject_nmi(m->vcpu[cpu]);
        break;
    case 2: // DMA into the code
        guest_memory_write(m->memory, MACHINE_CODE + what % h->length, bytes, sizeof bytes);
        break;
    case 3: // and into page tables
        guest_memory_write(m->memory, MACHINE_PT + what * 8u, bytes, 8);
        break;
    case 4:
        OPS->set_a20(m->vm, what & 1);
        break;
    case 5:
    case 6:
        g_mutex_lock(&m->lock);
        guest_memory_move(m->memory, h->moving, what & 1 ? MACHINE_DATA : 0x4000,
                          GUEST_SLOT_READ | (what & 2 ? GUEST_SLOT_WRITE : GUEST_SLOT_ROM));
        g_mutex_unlock(&m->lock);
        break;
    default:
        OPS->kick(m->vcpu[cpu]);
        break;
    }
}

// Every CPU has to come back, whatever it is at.
static void stop(Hostile *h, unsigned cpus)
{
    __atomic_store_n(&h->ending, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < cpus; i++)
        OPS->kick(h->machine->vcpu[i]);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STOPS_WITHIN_SECONDS;
    for (unsigned i = 0; i < cpus; i++) {
        if (pthread_timedjoin_np(h->cpu[i].thread, NULL, &until) == ETIMEDOUT)
            g_error("CPU %u does not stop", i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ByteReader input = byte_reader(data, size);
    uint8_t first = byte_reader_u8(&input), second = byte_reader_u8(&input);
    g_setenv("LODGE_TEST_ENGINE", "translator", TRUE);
    g_setenv("LODGE_TRANSLATOR", options[first % G_N_ELEMENTS(options)], TRUE);
    unsigned cpus = 1 + second % MACHINE_CPUS;
    g_autoptr(Machine) m = machine_new(cpus);
    Hostile h = { .machine = m };
    new_memory(&h);
    for (unsigned i = 0; i < cpus; i++) {
        h.cpu[i] = (HostileCpu){ .hostile = &h, .index = i };
        set_start(&h, &h.cpu[i], &input, second >> 3);
    }
    h.length = MIN(size - MIN(size, input.position), LONGEST_CODE);
    if (h.length > DISTURBANCES) {
        const uint8_t *noise = data + input.position;
        uint8_t code[LONGEST_CODE];
        memcpy(code, noise, h.length);
        if (first & 0x80)
            strew(code, h.length, noise);
        guest_memory_write(m->memory, MACHINE_CODE, code, h.length);
        guest_memory_write(m->memory, MACHINE_DATA, code, h.length);
        for (unsigned i = 0; i < cpus; i++) {
            if (!OPS->set_state(m->vcpu[i], &h.cpu[i].start, VCPU_STATE_ALL))
                g_error("a state of the machine's own was refused");
            pthread_create(&h.cpu[i].thread, NULL, run_cpu, &h.cpu[i]);
        }
        for (unsigned i = 0; i < DISTURBANCES; i++) {
            g_usleep(PAUSE_US);
            disturb(&h, cpus, noise[i]);
        }
        stop(&h, cpus);
        check_memory(&h);
    }
    munmap(h.outer, 3 * CANARY + MACHINE_RAM + ROM_SIZE);
    return 0;
}
