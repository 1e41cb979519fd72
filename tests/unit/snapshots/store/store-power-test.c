// SPDX-License-Identifier: GPL-2.0-or-later
// The power-cut rig. A store's life is recorded, write by write; then the file is made as a cut at
// each point may have left it (what was synced is there; of what was not, everything up to the
// point, or any part, or torn pieces), opened, checked and compared: the last durable state must be
// there, whole, and nothing may leak. --samples and --from lengthen and repeat a run.
#include "tests/unit/snapshots/store/store-scenario.h"

#include <errno.h>

#define LIMIT (UINT64_C(1) << 30)

static gint arg_samples = 10000, arg_from = 1, arg_steps = 420;

typedef struct {
    Scenario scenario;
    Rig *recorded, *replay;
    GRand *rand;
    uint64_t prefixes, samples, continued;
} Power;

static uint64_t log_position(void *opaque)
{
    return ((Rig *)opaque)->log->len;
}

static void fail(const Power *p, uint64_t at, const char *why)
{
    g_error("cut after operation %" G_GUINT64_FORMAT " of %u (--from %d): %s", at,
            p->recorded->log->len, arg_from, why);
}

static void expect_clean(const Power *p, Store *store, uint64_t at)
{
    g_autoptr(GError) error = NULL;
    g_auto(StoreReport) report = { 0 };
    if (!store_check(store, false, &report, &error))
        fail(p, at, error->message);
    if (store_report_problems(&report))
        fail(p, at, report.messages->pdata[0]);
}

static unsigned moment_at(const Power *p, uint64_t position)
{
    unsigned index = 0;
    const GPtrArray *moments = p->scenario.moments;
    while (index + 1 < moments->len &&
           ((ScenarioMoment *)moments->pdata[index + 1])->position <= position)
        index++;
    return index;
}

// Opens what the cut left. To go on with it: frees what waits, writes, flushes.
static void examine(Power *p, uint64_t at, bool go_on)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *why = NULL;
    StoreOpen options = { .path = "rig", .read_only = !go_on };
    Store *store = store_open_io(rig_io(p->replay), &options, &error);
    if (!store)
        fail(p, at, error->message);
    expect_clean(p, store, at);
    if (!scenario_matches(&p->scenario, store, moment_at(p, at), &why))
        fail(p, at, why);
    if (go_on) {
        p->continued++;
        if (!store_purge_wait(store, NULL, &error) || !store_commit(store, &error))
            fail(p, at, error->message);
        expect_clean(p, store, at);
        if (!scenario_matches(&p->scenario, store, moment_at(p, at), &why))
            fail(p, at, why);
    }
    store_close(store);
}

static const RigOperation *operation(const Power *p, uint64_t index)
{
    return &g_array_index(p->recorded->log, RigOperation, index);
}

// One of the ways in which what was not synced may have arrived.
static void apply_some(Power *p, uint64_t from, uint64_t to)
{
    guint32 likely = g_rand_int_range(p->rand, 1, 4);
    bool torn = g_rand_boolean(p->rand);
    for (uint64_t i = from; i < to; i++) {
        const RigOperation *o = operation(p, i);
        if ((guint32)g_rand_int_range(p->rand, 0, 4) >= likely)
            continue;
        if (!torn || o->kind != RIG_WRITE || g_rand_boolean(p->rand)) {
            rig_apply(p->replay, o, 0, o->length);
            continue;
        }
        for (uint64_t at = 0; at < o->length; at += 512) { // sectors arrive one by one
            if (g_rand_boolean(p->rand))
                rig_apply(p->replay, o, at, 512);
        }
    }
}

// Cuts in the stretch of operations [from, to), which ends with a sync or the end.
static void cut_stretch(Power *p, uint64_t from, uint64_t to, uint64_t samples)
{
    for (uint64_t at = from; at <= to; at++) {
        rig_try(p->replay);
        for (uint64_t i = from; i < at; i++)
            rig_apply(p->replay, operation(p, i), 0, operation(p, i)->length);
        examine(p, at, p->prefixes++ % 16 == 0);
        rig_roll_back(p->replay);
    }
    for (uint64_t n = 0; n < samples && from < to; n++) {
        uint64_t at = from + 1 + g_rand_int(p->rand) % (to - from);
        rig_try(p->replay);
        apply_some(p, from, at);
        examine(p, at, p->samples++ % 16 == 0);
        rig_roll_back(p->replay);
    }
}

static void cut_everywhere(Power *p)
{
    const GArray *log = p->recorded->log;
    uint64_t start = ((ScenarioMoment *)p->scenario.moments->pdata[0])->position;
    uint64_t from = start;
    for (uint64_t i = 0; i < start; i++)
        rig_apply(p->replay, operation(p, i), 0, operation(p, i)->length);
    while (from < log->len) {
        uint64_t to = from;
        while (to < log->len && operation(p, to)->kind != RIG_SYNC)
            to++;
        uint64_t due = (uint64_t)arg_samples * (MIN(to + 1, log->len) - start) / (log->len - start);
        cut_stretch(p, from, to, due - p->samples);
        to = MIN(to + 1, log->len);
        for (uint64_t i = from; i < to; i++)
            rig_apply(p->replay, operation(p, i), 0, operation(p, i)->length);
        from = to;
    }
}

static void test_power(void)
{
    Power p = { .recorded = rig_new(LIMIT), .replay = rig_new(LIMIT) };
    StoreIo io = rig_io(p.recorded);
    p.rand = g_rand_new_with_seed((guint32)arg_from);
    rig_record(p.recorded);
    g_assert_cmpint(store_format_io(&io), ==, 0);
    Store *store = rig_open(p.recorded);
    scenario_start(&p.scenario, store, (guint32)arg_from, log_position, p.recorded);
    for (gint i = 0; i < arg_steps; i++)
        scenario_step(&p.scenario);
    store_close(store);
    cut_everywhere(&p);
    g_test_message("power cut after each of %" G_GUINT64_FORMAT " operations, and %"
                   G_GUINT64_FORMAT " reorderings and torn writes (%u durable moments, %"
                   G_GUINT64_FORMAT " gone on with): nothing lost", p.prefixes, p.samples,
                   p.scenario.moments->len, p.continued);
    scenario_clear(&p.scenario);
    g_rand_free(p.rand);
    rig_free(p.recorded);
    rig_free(p.replay);
}

// --- No room, and errors ---

static uint64_t no_position(void *opaque)
{
    return 0;
}

// Room ends at an operation and does not come back until the store is opened again.
static void fail_from(uint64_t at, int code, bool go_on, uint64_t *ret_refused)
{
    Scenario s;
    g_autoptr(GError) error = NULL;
    g_autofree char *why = NULL;
    Rig *rig = rig_new(LIMIT);
    StoreIo io = rig_io(rig);
    g_assert_cmpint(store_format_io(&io), ==, 0);
    Store *store = rig_open(rig);
    scenario_start(&s, store, (guint32)arg_from, no_position, NULL);
    s.may_fail = true;
    rig->fail_at = rig_operations(rig) + at;
    rig->fail_with = code;
    rig->fail_on = true;
    for (unsigned i = 0; i < 150 && s.failures == 0; i++)
        scenario_step(&s);
    *ret_refused += s.failures;
    rig->fail_at = 0;
    unsigned last = s.moments->len - 1;
    if (go_on && s.failures && !store->error) { // there is room again: what was refused works
        if (!store_commit(store, &error))
            g_error("no room after operation %" G_GUINT64_FORMAT ": %s", at, error->message);
    }
    store_close(store);
    store = rig_open(rig);
    g_auto(StoreReport) report = { 0 };
    g_assert_true(store_check(store, false, &report, NULL));
    if (store_report_problems(&report))
        g_error("operation %" G_GUINT64_FORMAT " failed (%s): %s", at, g_strerror(code),
                (char *)report.messages->pdata[0]);
    // The refused operation may have happened: then it has happened as a whole. Its effect is not
    // in the oracle, so only what came before is compared, where nothing was refused in between.
    if (s.failures == 0 && !scenario_matches(&s, store, last, &why))
        g_error("operation %" G_GUINT64_FORMAT " failed (%s): %s", at, g_strerror(code), why);
    store_close(store);
    scenario_clear(&s);
    rig_free(rig);
}

static void test_no_room(void)
{
    uint64_t refused = 0;
    for (uint64_t at = 1; at < 400; at += 3) {
        fail_from(at, ENOSPC, true, &refused);
        fail_from(at, ENOSPC, false, &refused);
    }
    g_test_message("no room from each of 266 operations on: %" G_GUINT64_FORMAT
                   " refused, nothing damaged", refused);
}

static void test_errors(void)
{
    uint64_t refused = 0;
    for (uint64_t at = 1; at < 400; at += 3)
        fail_from(at, EIO, false, &refused);
    g_test_message("errors from each of 133 operations on: %" G_GUINT64_FORMAT
                   " refused, nothing damaged", refused);
}

int main(int argc, char **argv)
{
    GOptionEntry entries[] = {
        { "samples", 0, 0, G_OPTION_ARG_INT, &arg_samples, "reorderings and torn writes", "N" },
        { "steps", 0, 0, G_OPTION_ARG_INT, &arg_steps, "length of the life", "N" },
        { "from", 0, 0, G_OPTION_ARG_INT, &arg_from, "seed", "S" },
        { NULL },
    };
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL); // the store warns of errors
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, NULL))
        return 2;
    g_test_add_func("/store/power/cut", test_power);
    g_test_add_func("/store/power/no-room", test_no_room);
    g_test_add_func("/store/power/errors", test_errors);
    return g_test_run();
}
