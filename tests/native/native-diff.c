// SPDX-License-Identifier: GPL-2.0-or-later
// The interpreter against the CPU that it runs on: generated user-mode instructions, run by both,
// compared in every register and every byte.
//
//     native-diff                         every form, 30,000 cases, a seed of the moment
//     native-diff --cases 5000000         more of them
//     native-diff --seconds 60            as many as fit
//     native-diff --seed S --first N --cases 1 --verbose     one case again
//     native-diff --only daa              one mnemonic
#include "tests/native/native-compare.h"
#include "tests/native/native-generate.h"
#include "tests/native/native-guest.h"
#include "tests/native/native-host.h"

#include <inttypes.h>
#include <stdio.h>

enum { DEFAULT_CASES = 30000, LINES_PER_MNEMONIC = 3, LINES = 400, TRIES = 4 };

typedef struct {
    NativeForms *forms;
    NativeBatch *batch, *again; // again: one case
    NativeGuest *guest;
    NativeResult result; // the guest's
    GHashTable *by_mnemonic; // mismatches
    GHashTable *covered;     // mnemonics that ended with INT3, so were executed
    uint64_t seed, first;
    bool verbose;
    uint64_t compared, left_out, lost, mismatches, faults, unsteady;
    unsigned lines;
} Diff;

static const char *mnemonic_of(Diff *d, const NativeCase *c)
{
    ZydisDecodedInstruction insn;
    ZydisDecoderContext context;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(native_forms_decoder(d->forms, c->mode_32),
                                                    &context, c->code, c->length, &insn)))
        return "(invalid)";
    return ZydisMnemonicGetString(insn.mnemonic);
}

static unsigned count_one(GHashTable *table, const char *key)
{
    unsigned count = GPOINTER_TO_UINT(g_hash_table_lookup(table, key)) + 1;
    g_hash_table_insert(table, (gpointer)key, GUINT_TO_POINTER(count));
    return count;
}

static void report(Diff *d, const NativeCase *c, const char *differences)
{
    unsigned count = count_one(d->by_mnemonic, mnemonic_of(d, c));
    d->mismatches++;
    if ((count > LINES_PER_MNEMONIC || d->lines >= LINES) && !d->verbose)
        return;
    d->lines++;
    g_autoptr(GString) code = g_string_new(NULL);
    native_describe(d->forms, c, code);
    printf("# differs: --seed %" PRIu64 " --first %" PRIu64 " %s %s:%s\n", d->seed, c->index,
           c->mode_32 ? "32" : "64", code->str, differences);
}

static void show_case(Diff *d, const NativeCase *c, const NativeResult *host)
{
    g_autoptr(GString) code = g_string_new(NULL);
    native_describe(d->forms, c, code);
    printf("# case %" PRIu64 ", %s-bit, at %" PRIx64 ": %s\n", c->index, c->mode_32 ? "32" : "64",
           c->start.rip, code->str);
    for (unsigned i = 0; i < 16; i++)
        printf("# gpr %u: %016" PRIx64 ", host %016" PRIx64 ", interpreter %016" PRIx64 "\n", i,
               c->start.gpr[i], host->end.gpr[i], d->result.end.gpr[i]);
    printf("# flags: %" PRIx64 ", host %" PRIx64 ", interpreter %" PRIx64 "\n", c->start.rflags,
           host->end.rflags, d->result.end.rflags);
    const NativeResult *both[] = { host, &d->result };
    for (unsigned i = 0; i < 2; i++)
        printf("# %s ends: %d, error %" PRIx64 ", CR2 %" PRIx64 ", at %" PRIx64 "\n",
               i ? "interpreter" : "host", both[i]->vector, both[i]->error, both[i]->address,
               both[i]->end.rip);
    for (unsigned i = 0; i < NATIVE_XSAVE; i += 16) {
        if (i >= 416 && i < 576)
            continue;
        printf("# xsave %u:", i);
        for (unsigned j = 16; j--;)
            printf("%s%02x", j == 15 || j == 7 ? " " : "", c->start.xsave[i + j]);
        printf("\n");
    }
    for (unsigned i = 0; i < c->patches; i++) {
        printf("# memory %x:", c->patch[i].address);
        for (unsigned j = 0; j < NATIVE_PATCH; j++)
            printf(" %02x", c->patch[i].bytes[j]);
        printf("\n");
    }
}

// What the host's kernel does between may show: AMD's processors lose the x87 pointers when the
// kernel switches tasks. A difference counts when the host repeats it.
static bool agrees_again(Diff *d, const NativeCase *c)
{
    d->again->count = 1;
    d->again->cases[0] = *c;
    for (unsigned i = 0; i < TRIES && !d->result.lost; i++) {
        g_autoptr(GString) text = g_string_new(NULL);
        native_host_run(d->again);
        native_compare(d->forms, c, &d->again->results[0], &d->result, text);
        if (!text->len && !d->again->results[0].lost)
            return true;
    }
    return false;
}

static void compare_case(Diff *d, const NativeCase *c, const NativeResult *host)
{
    if (host->lost) {
        d->lost++;
        report(d, c, " lost on the host");
        return;
    }
    native_guest_run(d->guest, c, d->batch->common, &d->result);
    g_autoptr(GString) text = g_string_new(NULL);
    if (d->result.lost)
        g_string_append(text, " the interpreter stopped without an exception");
    else
        native_compare(d->forms, c, host, &d->result, text);
    if (text->len && agrees_again(d, c)) {
        d->unsteady++;
        g_string_truncate(text, 0);
    }
    d->compared++;
    if (host->end.rip == c->start.rip)
        d->faults++;
    else
        count_one(d->covered, mnemonic_of(d, c));
    if (d->verbose)
        show_case(d, c, host);
    if (text->len)
        report(d, c, text->str);
}

static void run_batch(Diff *d, uint64_t first, unsigned count)
{
    d->batch->count = 0;
    for (unsigned i = 0; i < count; i++) {
        if (native_generate(d->forms, d->seed, first + i, &d->batch->cases[d->batch->count]))
            d->batch->count++;
        else
            d->left_out++;
    }
    native_host_run(d->batch);
    for (unsigned i = 0; i < d->batch->count; i++)
        compare_case(d, &d->batch->cases[i], &d->batch->results[i]);
}

static void summarize(Diff *d, double seconds)
{
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, d->by_mnemonic);
    while (g_hash_table_iter_next(&iter, &key, &value))
        printf("# %s: %u differ\n", (const char *)key, GPOINTER_TO_UINT(value));
    printf("# %u forms, %u absent, %u that do not exist, %u not comparable; %" PRIu64
           " cases compared, %" PRIu64
           " of them faulted at once; %u mnemonics executed; %" PRIu64 " left out, %" PRIu64
           " lost, %" PRIu64 " unsteady; %" PRIu64 " units entered; %.1f s, %.0f cases a "
           "second\n",
           d->forms->forms->len, d->forms->absent->len, d->forms->invalid->len,
           d->forms->left_out, d->compared, d->faults,
           g_hash_table_size(d->covered), d->left_out, d->lost, d->unsteady,
           native_guest_units(d->guest), seconds,
           (double)d->compared / seconds);
}

int main(int argc, char **argv)
{
    gint64 seed = 0, first = 0, cases = 0, seconds = 0;
    gboolean verbose = FALSE;
    g_autofree char *only = NULL;
    const GOptionEntry options[] = {
        { "cases", 0, 0, G_OPTION_ARG_INT64, &cases, "How many cases (30000)", "N" },
        { "seconds", 0, 0, G_OPTION_ARG_INT64, &seconds, "Run that long instead", "S" },
        { "seed", 0, 0, G_OPTION_ARG_INT64, &seed, "Seed (LODGE_SEED, else the time)", "N" },
        { "first", 0, 0, G_OPTION_ARG_INT64, &first, "Number of the first case", "N" },
        { "only", 0, 0, G_OPTION_ARG_STRING, &only, "This mnemonic alone", "NAME" },
        { "verbose", 0, 0, G_OPTION_ARG_NONE, &verbose, "Show each case whole", NULL },
        { NULL },
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_add_main_entries(context, options, NULL);
    g_autoptr(GError) error = NULL;
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "%s\n", error->message);
        return 2;
    }
#ifdef __SANITIZE_ADDRESS__
    const char *missing = "the sanitizer's memory is in the way of stray accesses";
#else
    const char *missing = native_host_missing();
#endif
    if (missing) {
        printf("1..0 # SKIP %s\n", missing);
        return 0;
    }
    const char *from_environment = g_getenv("LODGE_SEED");
    if (!seed)
        seed = from_environment ? g_ascii_strtoll(from_environment, NULL, 0)
                                : g_get_real_time() / 1000 % 1000000000;
    if (!cases)
        cases = seconds ? G_MAXINT64 : DEFAULT_CASES;

    Diff d = {
        .forms = native_forms_new(only),
        .batch = native_batch_new(),
        .again = native_batch_new(),
        .guest = native_guest_new(native_host_cpu_segment()),
        .by_mnemonic = g_hash_table_new(g_str_hash, g_str_equal),
        .covered = g_hash_table_new(g_str_hash, g_str_equal),
        .seed = (uint64_t)seed,
        .verbose = verbose,
    };
    printf("TAP version 13\n1..1\n# LODGE_SEED=%" PRIu64 "\n", d.seed);
    fflush(stdout);
    if (!d.forms->forms->len) {
        fprintf(stderr, "No instruction that can be compared is named %s\n", only);
        return 2;
    }
    native_generate_common(d.seed, d.batch->common);
    native_generate_common(d.seed, d.again->common);
    gint64 start = g_get_monotonic_time(), end = seconds ? start + seconds * G_USEC_PER_SEC
                                                         : G_MAXINT64;
    for (gint64 done = 0; done < cases && g_get_monotonic_time() < end; done += NATIVE_BATCH)
        run_batch(&d, (uint64_t)(first + done), (unsigned)MIN(NATIVE_BATCH, cases - done));
    summarize(&d, (double)(g_get_monotonic_time() - start) / G_USEC_PER_SEC);
    bool right = !d.mismatches;
    if (native_guest_translates() && native_guest_units(d.guest) < d.compared / 2) {
        printf("# most cases were not translated: set LODGE_TRANSLATOR=hot=1\n");
        right = false;
    }
    printf("%s 1 - the %s and the CPU agree\n", right ? "ok" : "not ok",
           native_guest_translates() ? "translator" : "interpreter");

    g_hash_table_unref(d.by_mnemonic);
    g_hash_table_unref(d.covered);
    native_guest_free(d.guest);
    native_batch_free(d.batch);
    native_batch_free(d.again);
    native_forms_free(d.forms);
    return right ? 0 : 1;
}
