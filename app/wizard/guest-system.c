// SPDX-License-Identifier: GPL-2.0-or-later
// See guest-system.h.
#include "app/wizard/guest-system.h"

#include <glib/gi18n.h>
#include <osinfo/osinfo.h>
#include <string.h>

#define MIB (1024 * 1024)
#define GIB (1024 * 1024 * 1024LL)

typedef struct {
    const char *name;
    GuestNeeds needs;
    bool virtio;
} Family;

static const Family families[GUEST_FAMILIES] = {
    [GUEST_OTHER] = { N_("Other"), { 32, 1024, 1, 10 }, false },
    [GUEST_LINUX] = { N_("Linux"), { 256, 2048, 2, 20 }, true },
    [GUEST_WINDOWS] = { N_("Windows Vista or later"), { 1024, 4096, 2, 64 }, false },
    [GUEST_OLD_WINDOWS] = { N_("Windows 95 to XP"), { 64, 512, 1, 10 }, false },
    [GUEST_DOS] = { N_("DOS"), { 16, 64, 1, 1 }, false },
    [GUEST_BSD] = { N_("BSD"), { 256, 2048, 2, 20 }, false },
};

// Where a rule looks.
typedef enum { VOLUME, VOLUME_ANYWHERE, APPLICATION, FIRST_LINE, FILE_EXISTS } RuleField;

typedef struct {
    RuleField field;
    const char *text; // a prefix; a path for FIRST_LINE and FILE_EXISTS; case is ignored
    const char *name; // NULL: the field's own text
    GuestFamily family;
} Rule;

// The first that fits holds: files that say a name, labels, then files that only hint.
static const Rule rules[] = {
    { VOLUME, "LODGE_DEMO", "Lodge demo guest", GUEST_LINUX },
    { FIRST_LINE, ".disk/info", NULL, GUEST_LINUX }, // Debian, Ubuntu and their children
    { VOLUME, "Debian", NULL, GUEST_LINUX },
    { VOLUME, "Ubuntu", NULL, GUEST_LINUX },
    { VOLUME, "Fedora", NULL, GUEST_LINUX },
    { VOLUME, "CentOS", NULL, GUEST_LINUX },
    { VOLUME, "RHEL", NULL, GUEST_LINUX },
    { VOLUME, "Rocky", NULL, GUEST_LINUX },
    { VOLUME, "AlmaLinux", NULL, GUEST_LINUX },
    { VOLUME, "openSUSE", NULL, GUEST_LINUX },
    { VOLUME, "SLE-", NULL, GUEST_LINUX },
    { VOLUME, "ARCH_", "Arch Linux", GUEST_LINUX },
    { VOLUME, "alpine", NULL, GUEST_LINUX },
    { VOLUME, "Kali", NULL, GUEST_LINUX },
    { VOLUME, "nixos", "NixOS", GUEST_LINUX },
    { VOLUME, "Gentoo", NULL, GUEST_LINUX },
    { VOLUME, "VOID_LIVE", "Void Linux", GUEST_LINUX },
    { VOLUME_ANYWHERE, "FreeBSD", "FreeBSD", GUEST_BSD },
    { VOLUME_ANYWHERE, "_RELEASE_AMD64", "FreeBSD", GUEST_BSD },
    { VOLUME, "OpenBSD", NULL, GUEST_BSD },
    { VOLUME, "NetBSD", NULL, GUEST_BSD },
    { VOLUME_ANYWHERE, "FreeDOS", "FreeDOS", GUEST_DOS },
    { FILE_EXISTS, "sources/install.wim", "Windows", GUEST_WINDOWS },
    { FILE_EXISTS, "sources/install.esd", "Windows", GUEST_WINDOWS },
    { FILE_EXISTS, "sources/boot.wim", "Windows", GUEST_WINDOWS },
    { FILE_EXISTS, "I386/WINNT32.EXE", "Windows XP or 2000", GUEST_OLD_WINDOWS },
    { FILE_EXISTS, "WIN98/SETUP.EXE", "Windows 98", GUEST_OLD_WINDOWS },
    { FILE_EXISTS, "WIN95/SETUP.EXE", "Windows 95", GUEST_OLD_WINDOWS },
    { FILE_EXISTS, "casper", "Linux", GUEST_LINUX },
    { FILE_EXISTS, "live/filesystem.squashfs", "Linux", GUEST_LINUX },
    { FILE_EXISTS, "isolinux", "Linux", GUEST_LINUX },
    { FILE_EXISTS, "boot/vmlinuz", "Linux", GUEST_LINUX },
    { APPLICATION, "GNU GRUB", "GRUB", GUEST_OTHER },
};

struct GuestDatabase {
    GMutex lock;
    OsinfoDb *db; // NULL until first asked, and where it cannot be loaded
    bool tried;
};

void guest_system_clear(GuestSystem *system)
{
    g_clear_pointer(&system->name, g_free);
    g_clear_pointer(&system->id, g_free);
    g_clear_pointer(&system->evidence, g_free);
}

const char *guest_family_name(GuestFamily family)
{
    return _(families[family].name);
}

GuestNeeds guest_family_needs(GuestFamily family)
{
    return families[family].needs;
}

bool guest_family_has_virtio(GuestFamily family)
{
    return families[family].virtio;
}

// Rules.

// "Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 ..." up to what a person would say.
static char *short_name(const char *line)
{
    const char *end = line + strlen(line);
    static const char *const ends[] = { " \"", " - ", " _", " (" };
    for (size_t i = 0; i < G_N_ELEMENTS(ends); i++) {
        const char *found = strstr(line, ends[i]);
        if (found && found < end)
            end = found;
    }
    char *name = g_strndup(line, (gsize)(end - line));
    return g_strdelimit(name, "_", ' ');
}

static bool starts_with(const char *text, const char *prefix)
{
    return g_ascii_strncasecmp(text, prefix, strlen(prefix)) == 0;
}

static bool contains(const char *text, const char *part)
{
    g_autofree char *large = g_ascii_strup(text, -1);
    g_autofree char *wanted = g_ascii_strup(part, -1);
    return strstr(large, wanted) != NULL;
}

// The text that the rule's name comes from, NULL where the rule does not fit.
static char *rule_match(const Rule *rule, const DiscImage *disc)
{
    const char *volume = disc_image_volume(disc);
    switch (rule->field) {
    case VOLUME:
        return starts_with(volume, rule->text) ? g_strdup(volume) : NULL;
    case VOLUME_ANYWHERE:
        return contains(volume, rule->text) ? g_strdup(volume) : NULL;
    case APPLICATION:
        return starts_with(disc_image_application(disc), rule->text)
                   ? g_strdup(disc_image_application(disc))
                   : NULL;
    case FIRST_LINE:
        return disc_image_first_line(disc, rule->text);
    case FILE_EXISTS:
        return disc_image_has(disc, rule->text) ? g_strdup(rule->text) : NULL;
    }
    return NULL;
}

bool guest_system_by_rules(const DiscImage *disc, GuestSystem *ret_system)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rules); i++) {
        const Rule *rule = &rules[i];
        g_autofree char *text = rule_match(rule, disc);
        if (!text || !*text)
            continue;
        ret_system->family = rule->family;
        ret_system->needs = guest_family_needs(rule->family);
        ret_system->name = rule->name ? g_strdup(rule->name) : short_name(text);
        ret_system->id = NULL;
        bool file = rule->field == FIRST_LINE || rule->field == FILE_EXISTS;
        ret_system->evidence =
            file ? g_strdup_printf(_("The disc has the file %s."), rule->text)
                 : g_strdup_printf(_("The disc is called “%s”."), text);
        if (i == 0) // a kernel, a shell, no installation
            ret_system->needs = (GuestNeeds){ 128, 256, 1, 0 };
        return true;
    }
    return false;
}

// osinfo-db.

GuestDatabase *guest_database_new(void)
{
    GuestDatabase *database = g_atomic_rc_box_new0(GuestDatabase);
    g_mutex_init(&database->lock);
    return database;
}

GuestDatabase *guest_database_ref(GuestDatabase *database)
{
    return g_atomic_rc_box_acquire(database);
}

static void database_clear(void *data)
{
    GuestDatabase *database = data;
    g_clear_object(&database->db);
    g_mutex_clear(&database->lock);
}

void guest_database_unref(GuestDatabase *database)
{
    if (database)
        g_atomic_rc_box_release_full(database, database_clear);
}

static void load(GuestDatabase *database)
{
    if (database->tried)
        return;
    database->tried = true;
    g_autoptr(OsinfoLoader) loader = osinfo_loader_new();
    g_autoptr(GError) error = NULL;
    osinfo_loader_process_default_path(loader, &error);
    if (error)
        g_info("osinfo-db is not read: %s", error->message);
    else
        database->db = g_object_ref(osinfo_loader_get_db(loader));
}

static GuestFamily osinfo_family(OsinfoOs *os)
{
    static const struct {
        const char *name;
        GuestFamily family;
    } names[] = {
        { "linux", GUEST_LINUX },      { "winnt", GUEST_WINDOWS },   { "win9x", GUEST_OLD_WINDOWS },
        { "win16", GUEST_OLD_WINDOWS }, { "msdos", GUEST_DOS },      { "dos", GUEST_DOS },
        { "freebsd", GUEST_BSD },      { "openbsd", GUEST_BSD },     { "netbsd", GUEST_BSD },
        { "dragonflybsd", GUEST_BSD },
    };
    const char *family = osinfo_os_get_family(os);
    const char *id = osinfo_product_get_short_id(OSINFO_PRODUCT(os));
    static const char *const old_nt[] = { "winnt3.1", "winnt3.5", "winnt3.51", "winnt4.0", "win2k",
                                          "winxp", "win2k3", NULL };
    if (id && g_strv_contains(old_nt, id))
        return GUEST_OLD_WINDOWS;
    for (size_t i = 0; family && i < G_N_ELEMENTS(names); i++) {
        if (strcmp(family, names[i].name) == 0)
            return names[i].family;
    }
    return GUEST_OTHER;
}

// Raises (at_least) or replaces what the family wants by what the system itself does.
static void take_resources(OsinfoResourcesList *all, bool least, GuestNeeds *needs)
{
    for (int i = 0; i < osinfo_list_get_length(OSINFO_LIST(all)); i++) {
        OsinfoResources *one = OSINFO_RESOURCES(osinfo_list_get_nth(OSINFO_LIST(all), i));
        const char *architecture = osinfo_resources_get_architecture(one);
        if (strcmp(architecture, "x86_64") != 0 && strcmp(architecture, "all") != 0 &&
            strcmp(architecture, "i686") != 0 && strcmp(architecture, "i386") != 0)
            continue;
        gint64 memory = osinfo_resources_get_ram(one) / MIB;
        gint64 disk = (osinfo_resources_get_storage(one) + GIB - 1) / GIB;
        if (memory > 0 && memory < 1024 * 1024) {
            if (least)
                needs->memory_least = (uint32_t)memory;
            needs->memory = least ? MAX(needs->memory, (uint32_t)memory) : (uint32_t)memory;
        }
        if (disk > 0 && disk < 4096)
            needs->disk = MAX(needs->disk, (uint32_t)disk);
    }
}

// libosinfo waits for itself in a main loop of the thread's default context. Were that the main
// thread's, it would end the loop there, perhaps before this thread has begun it, which then never
// ends; so the thread gets a context of its own.
static OsinfoMedia *create_media(const char *path)
{
    g_autoptr(GMainContext) context = g_main_context_new();
    g_main_context_push_thread_default(context);
    OsinfoMedia *media = osinfo_media_create_from_location_with_flags(path, NULL, 0, NULL);
    g_main_context_pop_thread_default(context);
    return media;
}

static bool ask_osinfo(OsinfoDb *db, const char *path, GuestSystem *ret_system)
{
    g_autoptr(OsinfoMedia) media = create_media(path);
    if (!media || !osinfo_db_identify_media(db, media))
        return false;
    g_autoptr(OsinfoOs) os = osinfo_media_get_os(media);
    if (!os)
        return false;
    ret_system->family = osinfo_family(os);
    ret_system->needs = guest_family_needs(ret_system->family);
    ret_system->name = g_strdup(osinfo_product_get_name(OSINFO_PRODUCT(os)));
    ret_system->id = g_strdup(osinfo_product_get_short_id(OSINFO_PRODUCT(os)));
    ret_system->evidence = g_strdup(_("Recognised by the database of operating systems."));
    g_autoptr(OsinfoResourcesList) least = osinfo_os_get_minimum_resources(os);
    g_autoptr(OsinfoResourcesList) recommended = osinfo_os_get_recommended_resources(os);
    take_resources(recommended, false, &ret_system->needs);
    take_resources(least, true, &ret_system->needs);
    return true;
}

void guest_system_detect(GuestDatabase *database, const char *path, const DiscImage *disc,
                         GuestSystem *ret_system)
{
    *ret_system = (GuestSystem){ .family = GUEST_OTHER, .needs = guest_family_needs(GUEST_OTHER) };
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&database->lock);
    load(database);
    if (!database->db || !ask_osinfo(database->db, path, ret_system))
        guest_system_by_rules(disc, ret_system);
}
