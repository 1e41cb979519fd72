// SPDX-License-Identifier: GPL-2.0-or-later
// What the wizard refuses and suggests, on a computer of our choice: 8 GiB, 4 CPUs, 100 GiB free.
#include "app/wizard/draft.h"
#include "tests/unit/app/wizard/disc-builder.h"

#include <glib/gstdio.h>

static char *home;

static Draft *new_draft(void)
{
    Draft *draft = draft_new();
    draft->host = (DraftHost){ 8192, 4, (uint64_t)100 << 30 };
    return draft;
}

static Medium *medium_of(GuestFamily family, GuestNeeds needs)
{
    Medium *medium = g_new0(Medium, 1);
    medium->path = g_strdup("/images/some system.iso");
    medium->system.family = family;
    medium->system.needs = needs;
    return medium;
}

static void assert_finding(char *text, const bool *stops, bool wanted_stops, const char *words)
{
    g_assert_nonnull(text);
    g_assert_cmpint(*stops, ==, wanted_stops);
    g_assert_nonnull(strstr(text, words));
    g_free(text);
}

static void test_memory(void)
{
    g_autoptr(Draft) draft = new_draft();
    bool stops;
    draft->memory = 0;
    assert_finding(draft_check_memory(draft, &stops), &stops, true, "at least 16 MiB");
    draft->memory = 8193;
    assert_finding(draft_check_memory(draft, &stops), &stops, true, "This computer has");
    draft->memory = 8000;
    assert_finding(draft_check_memory(draft, &stops), &stops, false, "slow");
    draft->memory = 4096;
    g_assert_null(draft_check_memory(draft, &stops));
    draft->family = GUEST_WINDOWS;
    draft->memory = 512;
    assert_finding(draft_check_memory(draft, &stops), &stops, false, "at least");
}

static void test_cpus(void)
{
    g_autoptr(Draft) draft = new_draft();
    bool stops;
    draft->cpus = 0;
    assert_finding(draft_check_cpus(draft, &stops), &stops, true, "1 to 64");
    draft->cpus = 65;
    assert_finding(draft_check_cpus(draft, &stops), &stops, true, "1 to 64");
    draft->cpus = 5;
    assert_finding(draft_check_cpus(draft, &stops), &stops, false, "4 processors");
    draft->cpus = 4;
    g_assert_null(draft_check_cpus(draft, &stops));
}

static void test_disk(void)
{
    g_autoptr(Draft) draft = new_draft();
    bool stops;
    draft->disk = 100;
    assert_finding(draft_check_disk(draft, &stops), &stops, true, "no room");
    draft->disk = 2 * 1024 * 1024;
    assert_finding(draft_check_disk(draft, &stops), &stops, true, "at most");
    draft->disk = 99;
    g_assert_null(draft_check_disk(draft, &stops));
    draft->disk = 0;
    g_assert_null(draft_check_disk(draft, &stops));
}

static void test_name(void)
{
    g_autoptr(Draft) draft = new_draft();
    bool stops;
    const char *const wrong[] = { "", "a/b", ".hidden" };
    for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_free(draft->name);
        draft->name = g_strdup(wrong[i]);
        assert_finding(draft_check_name(draft, &stops), &stops, true, "name");
    }
    g_free(draft->name);
    draft->name = g_strdup("Büro 2");
    g_assert_null(draft_check_name(draft, &stops));
}

static void test_taken_name(void)
{
    g_autofree char *folder = g_build_filename(home, "some system.lodge", NULL);
    g_autofree char *file = g_build_filename(folder, "machine.conf", NULL);
    g_assert_cmpint(g_mkdir_with_parents(folder, 0700), ==, 0);
    g_assert_true(g_file_set_contents(file, "", 0, NULL));
    g_autoptr(Draft) draft = new_draft();
    draft_set_medium(draft, medium_of(GUEST_OTHER, guest_family_needs(GUEST_OTHER)));
    g_assert_cmpstr(draft->name, ==, "some system 2");
    bool stops;
    g_free(draft->name);
    draft->name = g_strdup("some system");
    assert_finding(draft_check_name(draft, &stops), &stops, true, "already");
    g_unlink(file);
    g_rmdir(folder);
}

static void test_suggestions(void)
{
    g_autoptr(Draft) draft = new_draft();
    draft_set_medium(draft, medium_of(GUEST_LINUX, (GuestNeeds){ 512, 65536, 16, 20 }));
    g_assert_cmpuint(draft->memory, ==, 4096); // half of what there is
    g_assert_cmpuint(draft->cpus, ==, 4);
    g_assert_cmpuint(draft->disk, ==, 20);
    draft_set_family(draft, GUEST_DOS);
    g_assert_cmpuint(draft->memory, ==, 64);
    draft_set_family(draft, GUEST_LINUX);
    g_assert_cmpuint(draft->memory, ==, 4096); // the medium's own needs again
}

static void test_medium(void)
{
    g_autoptr(GuestDatabase) database = guest_database_new();
    g_autofree char *path = g_build_filename(home, "disc.iso", NULL);
    static const struct {
        DiscSpec disc;
        gsize size;
        const char *problem, *warning;
    } cases[] = {
        { { .volume = "X", .bootable = TRUE }, DISC_SECTORS * DISC_SECTOR, NULL, NULL },
        { { .volume = "X" }, DISC_SECTORS * DISC_SECTOR, NULL, "cannot start" },
        { { .volume = "X", .promised = 30 }, DISC_SECTORS * DISC_SECTOR, "truncated", NULL },
        { { .volume = "X" }, 4096, "neither", NULL },
        { { .volume = "X" }, 0, "empty", NULL },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree guint8 *image = disc_build(&cases[i].disc);
        g_assert_true(g_file_set_contents(path, (char *)image, (gssize)cases[i].size, NULL));
        g_autoptr(Medium) medium = medium_probe(database, path);
        g_assert_cmpint(medium->problem != NULL, ==, cases[i].problem != NULL);
        g_assert_cmpint(medium->warning != NULL, ==, cases[i].warning != NULL);
        if (cases[i].problem)
            g_assert_nonnull(strstr(medium->problem, cases[i].problem));
        if (cases[i].warning)
            g_assert_nonnull(strstr(medium->warning, cases[i].warning));
    }
    g_unlink(path);
    g_autoptr(Medium) missing = medium_probe(database, path);
    g_assert_nonnull(strstr(missing->problem, "There is no file"));
    g_autoptr(Medium) folder = medium_probe(database, home);
    g_assert_nonnull(strstr(folder->problem, "is a folder"));
}

// Disk images of other programs: used where the name says what they are.
static void test_disk_formats(void)
{
    g_autoptr(GuestDatabase) database = guest_database_new();
    static const struct {
        const char *name, *magic, *problem;
    } cases[] = {
        { "a.qcow2", "QFI\xfb", NULL },
        { "b.VMDK", "KDMV", NULL },
        { "c.vmdk", "# Disk DescriptorFile\n", NULL },
        { "d.img", "QFI\xfb", "ends in .qcow2" },
        { "e.vhdx", "vhdxfile", "Convert it" },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_build_filename(home, cases[i].name, NULL);
        char image[1024] = "";
        g_strlcpy(image, cases[i].magic, sizeof image);
        g_assert_true(g_file_set_contents(path, image, sizeof image, NULL));
        g_autoptr(Medium) medium = medium_probe(database, path);
        if (cases[i].problem) {
            g_assert_nonnull(strstr(medium->problem, cases[i].problem));
        } else {
            g_assert_null(medium->problem);
            g_assert_cmpint(medium->kind, ==, MEDIUM_DISK);
        }
        g_unlink(path);
    }
}

// libosinfo 1.10 keeps what it read of its database, and a media's location, for good.
#ifdef __SANITIZE_ADDRESS__
const char *__asan_default_options(void);
const char *__lsan_default_suppressions(void);

const char *__asan_default_options(void)
{
    // libosinfo has no frame pointers to find its name by.
    return "fast_unwind_on_malloc=0:malloc_context_size=8";
}

const char *__lsan_default_suppressions(void)
{
    return "leak:libosinfo";
}
#endif

int main(int argc, char **argv)
{
    home = g_dir_make_tmp("lodge-draft-XXXXXX", NULL);
    g_setenv("LODGE_HOME", home, TRUE);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/draft/memory", test_memory);
    g_test_add_func("/draft/cpus", test_cpus);
    g_test_add_func("/draft/disk", test_disk);
    g_test_add_func("/draft/name", test_name);
    g_test_add_func("/draft/name/taken", test_taken_name);
    g_test_add_func("/draft/suggestions", test_suggestions);
    g_test_add_func("/medium/problems", test_medium);
    g_test_add_func("/medium/disk-formats", test_disk_formats);
    int status = g_test_run();
    g_rmdir(home);
    g_free(home);
    return status;
}
