// SPDX-License-Identifier: GPL-2.0-or-later
// The translator's border to the interpreter (translator.h): creation, options, and the decision
// what runs as a unit.
#include "engine/vcpu/bt/translator/translator.h"

#include "engine/vcpu/bt/translator/unit.h"

#include "engine/vcpu/bt/bt-cache.h"
#include "engine/vcpu/bt/bt-memory.h"
#include "engine/vcpu/bt/bt-parts.h"

#include <asm/prctl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// Code on a page whose units were dropped so often must be that much hotter: twice for each step.
enum { WRITES_PER_STEP = 4, MOST_STEPS = 8 };
enum { MOST_RANGES = (BT_RANGES - BT_RANGE_HASHED) / 2 };
#define DEFAULT_CODE_KIB (64u << 10)
#define HWCAP2_FSGSBASE_BIT (1u << 1)

// LODGE_TRANSLATOR: words and word=number, separated by commas; for tests and measurements.
static void read_options(BtTranslatorOptions *options)
{
    *options = (BtTranslatorOptions){ .hot = 16, .insns = 64, .code_kib = DEFAULT_CODE_KIB,
                                      .ranges = MOST_RANGES, .groups = true };
    const char *text = g_getenv("LODGE_TRANSLATOR");
    if (!text)
        return;
    g_auto(GStrv) words = g_strsplit(text, ",", -1);
    for (unsigned i = 0; words[i]; i++) {
        char *value = strchr(words[i], '=');
        if (value)
            *value++ = '\0';
        unsigned number = value ? (unsigned)g_ascii_strtoull(value, NULL, 0) : 1;
        if (!strcmp(words[i], "hot"))
            options->hot = MAX(number, 1);
        else if (!strcmp(words[i], "insns"))
            options->insns = CLAMP(number, 1, BT_UNIT_MAX);
        else if (!strcmp(words[i], "code"))
            options->code_kib = CLAMP(number, 192, 1u << 20);
        else if (!strcmp(words[i], "ranges"))
            options->ranges = CLAMP(number, 1, MOST_RANGES);
        else if (!strcmp(words[i], "exact"))
            options->exact_flags = number;
        else if (!strcmp(words[i], "poll"))
            options->poll_always = number;
        else if (!strcmp(words[i], "groups"))
            options->groups = number;
        else if (!strcmp(words[i], "clobber"))
            options->clobber = number;
        else if (!strcmp(words[i], "miss"))
            options->always_miss = number;
        else if (!strcmp(words[i], "checked"))
            options->checked = number;
        else
            g_warning("LODGE_TRANSLATOR: '%s' is none of hot, insns, code, ranges, exact, poll, "
                      "groups, clobber, miss, checked",
                      words[i]);
    }
}

static void *reserve(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED)
        g_error("out of address space for the translator"); // as g_malloc does
    return p;
}

bool bt_translator_create(BtCpu *cpu, GError **error)
{
    BtTranslatorOptions options;
    read_options(&options);
    BtCodeMemory *memory = bt_code_memory_new((size_t)options.code_kib << 10, error);
    if (!memory)
        return false;
    BtTranslator *t = g_new0(BtTranslator, 1);
    BtCodeViews views = bt_code_memory_views(memory);
    t->options = options;
    t->memory = memory;
    t->writable = views.writable;
    t->executable = views.executable;
    t->size = (uint32_t)views.size;
    t->unit = reserve(BT_UNITS * sizeof *t->unit);
    t->link = reserve(BT_LINKS * sizeof *t->link);
    t->site = reserve(BT_SITES * sizeof *t->site);
    t->data = reserve(BT_UNIT_DATA);
    t->pages = g_ptr_array_new();
    t->draft = bt_draft_space_new();
    t->bmi2 = __builtin_cpu_supports("bmi2");
    t->avx = __builtin_cpu_supports("avx");
    cpu->always_miss = options.always_miss;
    cpu->vm->checks_always = options.checked;
    cpu->translator = t;
    cpu->self = cpu;
    cpu->unit_rsp = (uint8_t *)cpu + BT_UNIT_RSP;
    bt_thunks_emit(t);
    bt_units_forget(cpu);
    return true;
}

void bt_translator_stats(const BtCpu *cpu, VcpuStats *stats)
{
    const BtTranslator *t = cpu->translator;
    for (unsigned mnemonic = 0; mnemonic <= ZYDIS_MNEMONIC_MAX_VALUE; mnemonic++) {
        uint64_t count = __atomic_load_n(&t->call_outs[mnemonic], __ATOMIC_RELAXED);
        if (count)
            vcpu_call_outs_add(stats->call_outs,
                               ZydisMnemonicGetString((ZydisMnemonic)mnemonic), count);
    }
}

void bt_translator_destroy(BtCpu *cpu)
{
    BtTranslator *t = cpu->translator;
    if (!t)
        return;
    munmap(t->unit, BT_UNITS * sizeof *t->unit);
    munmap(t->link, BT_LINKS * sizeof *t->link);
    munmap(t->site, BT_SITES * sizeof *t->site);
    munmap(t->data, BT_UNIT_DATA);
    g_ptr_array_free(t->pages, TRUE);
    g_free(t->draft);
    bt_code_memory_free(t->memory);
    g_free(t);
    cpu->translator = NULL;
}

// ---- GS base ----

__attribute__((target("fsgsbase"))) static void set_gs_base(uint64_t base)
{
    if (__builtin_ia32_rdgsbase64() != base)
        __builtin_ia32_wrgsbase64(base);
}

void bt_translator_begin(BtCpu *cpu)
{
    if (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT)
        set_gs_base((uintptr_t)cpu);
    else
        syscall(SYS_arch_prctl, ARCH_SET_GS, (unsigned long)(uintptr_t)cpu);
}

// ---- Running ----

static void enter(BtCpu *cpu, const uint8_t *code)
{
    const BtTranslator *t = cpu->translator;
    void (*thunk)(const uint8_t *) = (void (*)(const uint8_t *))(t->executable + t->enter);
    cpu->block = NULL;
    cpu->insn = NULL;
    cpu->stats.units[VCPU_UNIT_ENTRIES]++;
    thunk(code);
}

// The linear address of cpu->rip; false where to fetch there faults.
static bool linear_rip(const BtCpu *cpu, uint64_t *ret_linear)
{
    uint64_t linear = cpu->rip + cpu->segment[VCPU_CS].base;
    if (cpu->mode == BT_MODE_LONG) {
        *ret_linear = linear;
        return (uint64_t)(((int64_t)linear >> 47) + 1) <= 1;
    }
    *ret_linear = (uint32_t)linear;
    return cpu->rip <= MIN(cpu->segment[VCPU_CS].limit, cpu->rip_mask);
}

static uint16_t budget(const BtTranslator *t)
{
    return (uint16_t)MIN(t->options.hot - 1, UINT16_MAX);
}

// Whether the block, whose budget is used up, ran often enough; notes that it did so once more.
static bool is_hot(BtCpu *cpu, BtBlock *block, uint64_t physical)
{
    BtTranslator *t = cpu->translator;
    unsigned hot = t->options.hot;
    if (hot == 1) // tests want all code translated
        return true;
    if (block->forgets != (uint16_t)t->forgets) {
        block->forgets = (uint16_t)t->forgets;
        block->spent = 0;
    }
    unsigned writes = bt_units_writes(cpu, physical) + (block->checked ? t->wasted : 0);
    unsigned steps = MIN(writes / WRITES_PER_STEP + t->pressure, MOST_STEPS);
    unsigned spent = block->spent + hot;
    if (spent >= MIN(hot << steps, UINT16_MAX))
        return true;
    block->spent = (uint16_t)spent;
    return false;
}

// A unit for the block at cpu->rip, where it ran often enough.
static BtUnit *form(BtCpu *cpu, uint64_t linear, uint64_t physical, const uint8_t *host)
{
    BtBlock *block = bt_cache_find(cpu, false);
    if (!block->cached || block->budget)
        return NULL;
    if (!is_hot(cpu, block, physical)) {
        block->budget = budget(cpu->translator);
        return NULL;
    }
    const BtCache *cache = cpu->block_cache;
    BtUnit *unit = bt_unit_form(cpu, &cache->decoders, block, linear, physical, host);
    if (unit)
        cpu->stats.translations++;
    else // not so soon again
        block->budget = budget(cpu->translator);
    return unit;
}

// The code for cpu->rip; may_form: from the run loop, where it may be translated first.
static const uint8_t *find_code(BtCpu *cpu, bool may_form)
{
    BtTranslator *t = cpu->translator;
    if (!cpu->jump_salt)
        bt_units_update_salt(cpu);
    const BtJump *jump = &cpu->jump[cpu->rip & ((1u << BT_JUMP_BITS) - 1)];
    if (!t->pending && !t->options.poll_always && jump->tag == (cpu->rip ^ cpu->jump_salt)) {
        cpu->unit_flags = cpu->flags_status;
        return jump->code;
    }
    if (bt_cache_has_cold(cpu))
        return NULL;
    uint64_t linear;
    if (cpu->code_bits == 16 || !linear_rip(cpu, &linear))
        return NULL;
    const uint8_t *host;
    uint64_t physical = bt_fetch_page(cpu, linear, &host);
    physical = (physical & ~UINT64_C(0xfff)) | (linear & 0xfff);
    BtUnit *unit = bt_units_find(cpu, linear, physical, host);
    uint32_t pending = t->pending;
    if (!unit && may_form) {
        unsigned forgets = t->forgets;
        unit = form(cpu, linear, physical, host);
        if (t->forgets != forgets)
            pending = 0;
    }
    if (!unit)
        return NULL;
    t->pending = 0;
    if (pending)
        bt_units_link(cpu, pending, unit);
    else
        bt_units_note_jump(cpu, unit);
    return t->executable + unit->forward;
}

bool bt_translator_run(BtCpu *cpu)
{
    const uint8_t *code = find_code(cpu, true);
    cpu->translator->pending = 0;
    if (code)
        enter(cpu, code);
    return code;
}

const uint8_t *bt_unit_next(BtCpu *cpu)
{
    BtTranslator *t = cpu->translator;
    if (t->options.poll_always || !bt_run_undisturbed(cpu))
        return NULL;
    bt_run_update(cpu);
    return find_code(cpu, false);
}

uint16_t bt_translator_budget(const BtCpu *cpu)
{
    return cpu->translator ? budget(cpu->translator) : UINT16_MAX;
}

void bt_translator_code_written(BtCpu *cpu)
{
    bt_units_check(cpu);
}

void bt_translator_forget(BtCpu *cpu)
{
    bt_units_forget(cpu);
}
